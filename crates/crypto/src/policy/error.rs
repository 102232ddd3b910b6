//! What a policy's author is told: where, what, who says so, and the mend.

use std::fmt;

/// One fault of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// Path of the field, such as `uses.pairing.groups[1]`.
    pub path: String,
    /// Its line in the text, counted from one; none for a policy that was not read from text.
    pub line: Option<usize>,
    /// The item, where the fault is one's.
    pub item: Option<String>,
    /// What is wrong.
    pub fault: String,
    /// The catalogue's statement that says so, with its source, edition and how well it is known.
    pub statement: Option<String>,
    /// What to write instead.
    pub mend: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}", self.path)?;
        if let Some(item) = &self.item {
            write!(f, " {item:?}")?;
        }
        write!(f, ": {}", self.fault)?;
        if let Some(statement) = &self.statement {
            write!(f, " ({statement})")?;
        }
        write!(f, ": {}", self.mend)
    }
}

impl std::error::Error for CompileError {}
