//! Completion in the shell: the shell asks this binary, which answers from small local files and the command line alone.
//!
//! ```text
//!  `countersign completions bash`   the script that registers this binary with the shell
//!  TAB ─► COUNTERSIGN_COMPLETE=bash countersign -- WORD… ─► Typed ─► Known::candidates ─► the shell
//! ```
//!
//! What an argument is completed by stands at the argument, as a [`Known`]. No key is opened and nobody is asked. What
//! cannot be read completes nothing, and nothing is said about it.

mod typed;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::builder::ArgExt;
use clap::{Arg, Command, ValueHint};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, complete};
use clap_complete::env::Shells;
use countersign_authority::IssuingCa;
use countersign_authority::admin::Role as OperatorRole;
use countersign_authority::factory::Layout;
use countersign_authority::registration::Reason;
use countersign_controller::{Remembered, Suggestion, Wanted};
use countersign_crypto::signature::SignatureAlgorithm;
use countersign_model::registry::Profile;
use countersign_model::role::Role;

use crate::args::HOME;

pub(crate) use typed::Typed;

/// The environment variable by which the registered script asks: its value is the shell.
const VARIABLE: &str = "COUNTERSIGN_COMPLETE";
/// Where bash says which word is completed; its script is clap's.
const INDEX: &str = "_CLAP_COMPLETE_INDEX";
/// What stands between candidates in the answer to bash.
const BETWEEN: char = '\u{b}';

/// What an argument is completed by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known {
    /// A thing of the home.
    Thing,
    /// Somebody with a certificate of the home.
    Person,
    /// Somebody who may have a role at the thing, or an invitation.
    Holder,
    /// A property, action or event of the thing.
    Affordance(Wanted),
    /// A value of the property that was typed.
    Value,
    /// A role at a device.
    Role,
    /// A role at the admin interface.
    OperatorRole,
    /// Why something is revoked.
    Reason,
    /// An issuing CA of the authority.
    Ca,
    /// An issuing CA of the data folder, each generation by its label.
    CaLabel,
    /// A signature algorithm.
    Algorithm,
    /// A profile of catalogues.
    Profile,
    /// How labels lie on the paper.
    Layout,
    /// A file with one of these endings.
    File(&'static [&'static str]),
}

impl ArgExt for Known {}

impl Known {
    /// A crypto policy, signed or not.
    pub(crate) const POLICY: Self = Self::File(&["toml", "cose"]);
    /// A configuration, or bindings.
    pub(crate) const TOML: Self = Self::File(&["toml"]);
    /// A Thing Description.
    pub(crate) const DESCRIPTION: Self = Self::File(&["json", "jsonld"]);

    /// What fits what was typed so far.
    fn candidates(self, typed: &Typed, current: &OsStr) -> Vec<CompletionCandidate> {
        if let Self::File(endings) = self {
            let wanted = move |path: &Path| {
                let ending = path.extension().and_then(OsStr::to_str);
                path.is_file() && ending.is_some_and(|ending| endings.contains(&ending))
            };
            let files = PathCompleter::any().filter(wanted);
            return clap_complete::engine::ValueCompleter::complete(&files, current);
        }
        let Some(begun) = current.to_str() else { return Vec::new() };
        self.words(typed)
            .into_iter()
            .filter(|(word, _)| word.starts_with(begun))
            .map(|(word, about)| {
                let about = (!about.is_empty()).then(|| about.into());
                CompletionCandidate::new(word).help(about)
            })
            .collect()
    }

    /// Every word, with what a shell may show beside it.
    fn words(self, typed: &Typed) -> Vec<(String, String)> {
        let home = match typed.names("--home") {
            true => typed.folder("--home"),
            false => std::env::var_os(HOME).map(PathBuf::from),
        };
        let home = home.map(|folder| Remembered::of(&folder));
        let thing = typed.value("--thing").and_then(|thing| thing.parse().ok());
        match (self, home, thing) {
            (Self::Thing, Some(home), _) => bare(home.things()),
            (Self::Person, Some(home), _) => bare(home.persons()),
            (Self::Holder, Some(home), Some(thing)) => bare(home.people_at(&thing)),
            (Self::Affordance(wanted), Some(home), Some(thing)) => {
                let about = |Suggestion { name, title }| (String::from(name), title);
                home.affordances(&thing, wanted).into_iter().map(about).collect()
            }
            (Self::Value, Some(home), Some(thing)) => {
                let property = home
                    .affordances(&thing, Wanted::Write)
                    .into_iter()
                    .find(|one| typed.has(one.name.as_str()));
                bare(property.map(|one| home.values(&thing, one.name.as_str())).unwrap_or_default())
            }
            (Self::Role, ..) => bare(Role::ALL),
            (Self::OperatorRole, ..) => bare(OperatorRole::ALL),
            (Self::Reason, ..) => bare(Reason::ALL),
            (Self::Ca, ..) => bare(IssuingCa::ALL.map(|ca| ca.label().trim_end_matches("-ca"))),
            (Self::CaLabel, ..) => {
                let data = typed.folder("--data").unwrap_or_default();
                bare(ca_labels(&data.join("authority").join("ca")))
            }
            (Self::Algorithm, ..) => bare(SignatureAlgorithm::ALL.map(SignatureAlgorithm::name)),
            (Self::Profile, ..) => bare(Profile::ALL),
            (Self::Layout, ..) => bare(Layout::ALL.map(Layout::as_str)),
            _ => Vec::new(),
        }
    }
}

fn bare<T: ToString>(words: impl IntoIterator<Item = T>) -> Vec<(String, String)> {
    words.into_iter().map(|word| (word.to_string(), String::new())).collect()
}

/// The issuing CAs whose certificates lie in `folder`, sorted: what they issued can be revoked.
fn ca_labels(folder: &Path) -> Vec<String> {
    let issuing = |name: &String| IssuingCa::ALL.iter().any(|ca| name.starts_with(ca.label()));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(1000);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let labels = names.filter_map(|name| Some(name.strip_suffix(".crt")?.to_owned()));
    let mut labels: Vec<_> = labels.filter(issuing).filter(|label| is_plain(label)).collect();
    labels.sort();
    labels
}

/// Whether a word means itself in bash, wherever it stands unquoted.
fn is_plain(word: &str) -> bool {
    let fits = |letter: char| letter.is_alphanumeric() || "-_./=:@+,%".contains(letter);
    word.strip_prefix("~/").unwrap_or(word).chars().all(fits)
}

/// Gives every argument its candidates.
fn informed(command: Command, typed: &Arc<Typed>) -> Command {
    let inform = |arg: Arg| match arg.get::<Known>().copied() {
        Some(known) => {
            let typed = Arc::clone(typed);
            let candidates = move |current: &OsStr| known.candidates(&typed, current);
            arg.add(ArgValueCompleter::new(candidates))
        }
        None if ["home", "data", "folder"].contains(&arg.get_id().as_str()) => {
            arg.value_hint(ValueHint::DirPath)
        }
        None => arg,
    };
    command.mut_args(inform).mut_subcommands(|below| informed(below, typed))
}

/// The answer to `shell`, whose words these are; nothing where there is nothing to say.
fn answer(shell: &str, command: Command, words: Vec<OsString>, index: Option<usize>) -> Vec<u8> {
    let here = std::env::current_dir().ok();
    let mut out = Vec::new();
    if words.is_empty() {
        return out;
    }
    let at = index.unwrap_or(words.len().saturating_sub(1));
    if shell != "bash" {
        let typed = Arc::new(Typed::of(&words, at));
        let mut command = informed(command, &typed);
        let all = Shells::builtins();
        let Some(shell) = all.completer(shell) else { return out };
        let _ = shell.write_complete(&mut command, words, here.as_deref(), &mut out);
        // These quote what they insert; what could steer a terminal is not shown either.
        let shown = String::from_utf8_lossy(&out);
        let seen = |letter: &char| !letter.is_control() || "\n\t".contains(*letter);
        return shown.chars().filter(seen).collect::<String>().into();
    }
    // Bash inserts what it is given as it is, and cuts words at `=`.
    let (words, at, cut) = typed::rejoined(words, at);
    let typed = Arc::new(Typed::of(&words, at));
    let mut command = informed(command, &typed);
    let candidates = complete(&mut command, words, at, here.as_deref()).unwrap_or_default();
    let values = candidates.iter().filter_map(|one| one.get_value().to_str());
    let values: Vec<&str> =
        values.filter(|value| is_plain(value)).filter_map(|value| value.get(cut..)).collect();
    out.extend(values.join(&BETWEEN.to_string()).as_bytes());
    out
}

/// Answers a shell that completes; whether one asked.
//= specs/house.md#house-completion
//# Completing a command MUST NOT open a key, reach for the network or write to the terminal.
pub(crate) fn answered(command: impl FnOnce() -> Command) -> bool {
    let Some(shell) = std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty()) else {
        return false;
    };
    // A fault of ours is not the business of somebody who types.
    std::panic::set_hook(Box::new(|_| {}));
    let words: Vec<OsString> =
        std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let index = std::env::var(INDEX).ok().and_then(|index| index.parse().ok());
    let answer = answer(&shell.to_string_lossy(), command(), words, index);
    let _ = std::io::stdout().write_all(&answer);
    true
}

/// What registers `name` with a shell.
pub(crate) fn registration(shell: clap_complete::Shell, name: &str) -> String {
    let mut script = Vec::new();
    let shell = shell.to_string();
    if let Some(shell) = Shells::builtins().completer(&shell) {
        let _ = shell.write_registration(VARIABLE, name, name, &program(name), &mut script);
    }
    let script = String::from_utf8_lossy(&script);
    // A binary that is gone completes nothing, and is no reason for a message at every TAB.
    script.replace("-- \"${words[@]}\" \\\n", "-- \"${words[@]}\" 2>/dev/null \\\n")
}

/// What the script calls: this very file where it was named by its place, else whatever the shell finds.
fn program(name: &str) -> String {
    let called = std::env::args_os().next().map(std::path::PathBuf::from).unwrap_or_default();
    let placed = called.components().count() > 1;
    let path = placed.then(|| std::path::absolute(called).ok()).flatten();
    let path = path.and_then(|path| path.to_str().map(str::to_owned));
    path.filter(|path| is_plain(path)).unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
