//! The tree as the rules see it: text files by path, with comments and literals told from code.

use std::path::Path;

/// Folders that hold nothing of ours.
const SKIPPED: &[&str] = &["target", ".git", ".cache", "reports", "requirements", "corpus"];

/// Endings of the files that rules read.
const READ: &[&str] = &["rs", "md", "toml", "sh", "py", "json", "sql", "yml"];

/// A text file, its path relative to the top with `/` between the parts.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// `path:line`, the line counted from one.
    pub(crate) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }
}

/// All files that rules read, and the paths of all files whatever their ending.
pub(crate) struct Tree {
    files: Vec<File>,
    paths: Vec<String>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let mut tree = Self { files: Vec::new(), paths: Vec::new() };
        tree.walk(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() })
                .collect(),
            paths: files.iter().map(|(path, _)| (*path).to_owned()).collect(),
        }
    }

    fn walk(&mut self, folder: &Path, prefix: &str) -> Result<(), String> {
        let shown = |cause: std::io::Error| format!("{}: {cause}", folder.display());
        for entry in std::fs::read_dir(folder).map_err(shown)? {
            let entry = entry.map_err(shown)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            if entry.file_type().map_err(shown)?.is_dir() {
                if SKIPPED.contains(&name.as_str()) {
                    self.paths.push(path);
                } else {
                    self.walk(&entry.path(), &path)?;
                }
                continue;
            }
            let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
            if READ.contains(&ending) || ["test", "run"].contains(&name.as_str()) {
                let text = std::fs::read_to_string(entry.path())
                    .map_err(|cause| format!("{path}: {cause}"))?;
                self.files.push(File { path: path.clone(), text });
            }
            self.paths.push(path);
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// Whether a file, or a folder with something in it, has this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.paths.iter().any(|known| {
            known.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// The lines of a Rust file with comments and the insides of literals blanked, numbered from one.
pub(crate) fn code_lines(text: &str) -> Vec<(usize, String)> {
    blank(text).lines().enumerate().map(|(at, line)| (at + 1, line.to_owned())).collect()
}

/// Whether `needle` stands in `line` as a word of its own, not as part of a longer name.
pub(crate) fn has_word(line: &str, needle: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + needle.len()..].chars().next();
        let starts_open = needle.starts_with(part_of_name) && before.is_some_and(part_of_name);
        let ends_open = needle.ends_with(part_of_name) && after.is_some_and(part_of_name);
        !starts_open && !ends_open
    })
}

fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let end = at + literal_or_comment(rest, at.checked_sub(1).map(|b| bytes[b]));
        if end > at {
            out.extend(text[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            let next = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..next]);
            at += next;
        }
    }
    out
}

/// Length of the comment or literal that `rest` begins with; zero when it begins with code.
fn literal_or_comment(rest: &str, before: Option<u8>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    if rest.starts_with('r') && !before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return raw_string(rest);
    }
    if rest.starts_with('\'') {
        // A character literal closes soon; a lifetime does not close.
        let mut chars = rest.char_indices().skip(1);
        return match chars.next() {
            Some((_, '\\')) => quoted(rest, '\''),
            Some(_) => match chars.next() {
                Some((at, '\'')) => at + 1,
                _ => 0,
            },
            None => 0,
        };
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    rest[body..].find(&close).map_or(rest.len(), |at| body + at + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "let a = \"tokio // no\"; // tokio\n/* tokio /* tokio */ tokio */ b('\\'', 'x');\n\
                    r#\"tokio \" tokio\"#; fn f<'a>(x: &'a str) {}\n";
        let code = blank(text);
        assert!(!code.contains("tokio"), "{code}");
        assert!(code.contains("fn f<'a>(x: &'a str) {}"), "{code}");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use tokio::net;", "tokio"));
        assert!(!has_word("use mytokio;", "tokio"));
        assert!(!has_word("tokio_like", "tokio"));
        assert!(has_word("x.await;", ".await"));
    }

    #[test]
    fn folders_count_as_paths() {
        let tree = Tree::of(&[("docs/flows/pairing.md", "")]);
        assert!(tree.has("docs/flows/") && tree.has("docs/flows/pairing.md"));
        assert!(!tree.has("docs/flow"));
    }
}
