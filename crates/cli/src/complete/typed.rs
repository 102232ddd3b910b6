//! What somebody has typed so far, as a shell hands it over: words, quotes and all.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The words of a command line that is not finished.
#[derive(Debug, Default)]
pub(crate) struct Typed {
    words: Vec<String>,
}

impl Typed {
    /// All words but the one that is completed, which stands at `index`.
    pub(crate) fn of(words: &[OsString], index: usize) -> Self {
        let others = words.iter().enumerate().filter(|(at, _)| *at != index);
        // A word that cannot be read still keeps its place.
        Self { words: others.map(|(_, word)| unquoted(word).unwrap_or_default()).collect() }
    }

    /// Whether an option such as `--home` stands there, with a value or without.
    pub(crate) fn names(&self, option: &str) -> bool {
        self.place(option).is_some()
    }

    fn place(&self, option: &str) -> Option<usize> {
        let joined =
            |word: &'_ String| word.strip_prefix(option).is_some_and(|rest| rest.starts_with('='));
        self.words.iter().rposition(|word| word == option || joined(word))
    }

    /// The last value of an option such as `--home`.
    pub(crate) fn value(&self, option: &str) -> Option<&str> {
        let at = self.place(option)?;
        let word = &self.words[at];
        let value = match word.split_once('=') {
            Some((_, value)) => Some(value),
            None => self.words.get(at + 1).map(String::as_str),
        };
        value.filter(|value| !value.is_empty())
    }

    /// The same as a folder.
    pub(crate) fn folder(&self, option: &str) -> Option<PathBuf> {
        self.value(option).map(PathBuf::from)
    }

    /// Whether a word stands there.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|one| one == word)
    }
}

/// A word without its quotes, `~/` as the user's folder. Nothing where a shell would put in something of its own.
fn unquoted(word: &OsStr) -> Option<String> {
    let word = word.to_str()?;
    let (mut out, rest) = match word.strip_prefix("~/") {
        Some(rest) => (std::env::home_dir()?.join("").into_os_string().into_string().ok()?, rest),
        None => (String::new(), word),
    };
    let mut quote = None;
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None | Some('"'), '$' | '`') => return None,
            (None | Some('"'), '\\') => out.extend(letters.next()),
            _ => out.push(letter),
        }
    }
    Some(out)
}

/// Bash cuts `--home=./x` into three words. The words as they were typed, where the one at `index` is now, and how much of
/// it bash takes for other words.
pub(super) fn rejoined(words: Vec<OsString>, index: usize) -> (Vec<OsString>, usize, usize) {
    let mut out: Vec<OsString> = Vec::with_capacity(words.len());
    let (mut at, mut cut, mut open) = (0, 0, false);
    for (number, word) in words.into_iter().enumerate() {
        let option = out
            .last()
            .and_then(|last| last.to_str())
            .is_some_and(|last| last.starts_with("--") && last.len() > 2 && !last.contains('='));
        let before = out.last().map_or(0, |last| last.len());
        let sign = word == "=";
        match out.last_mut() {
            Some(last) if open || (sign && option) => last.push(&word),
            _ => out.push(word),
        }
        if number == index {
            at = out.len() - 1;
            // The sign itself is no beginning of a value.
            cut = if open {
                before
            } else if sign && option {
                before + 1
            } else {
                0
            };
        }
        open = sign && option;
    }
    if index >= out.len() && at == 0 {
        at = out.len();
        out.push(OsString::new());
    }
    (out, at, cut)
}
