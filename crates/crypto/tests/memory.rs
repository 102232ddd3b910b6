//! What is in memory while a secret is held, and after it was dropped: a process looks into another one's.
//!
//! The one that holds is this same test binary, started anew; the one that looks is its parent, which may. Each knows the
//! canary by computing it, so that no other copy of it is anywhere.
#![allow(clippy::unwrap_used)]

use countersign_crypto::keystore::exportable_key;
use countersign_crypto::secret::{Secret, Strength};
use countersign_crypto::signature::SignatureAlgorithm;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const ROLE: &str = "COUNTERSIGN_TEST_HOLDS";
const LENGTH: usize = 48;

/// Byte `index` of the canary.
fn byte(index: usize) -> u8 {
    u8::try_from((index * index * 37 + index * 91 + 113) % 251).unwrap()
}

fn held() -> Secret {
    let mut bytes = Vec::with_capacity(LENGTH);
    (0..LENGTH).for_each(|index| bytes.push(byte(index)));
    Secret::new(bytes, Strength(128))
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n>{line}").unwrap();
    out.flush().unwrap();
}

fn told_to_go_on() {
    let mut line = String::new();
    assert!(std::io::stdin().lock().read_line(&mut line).unwrap() > 0, "the parent is gone");
}

/// The life of the one that holds.
fn hold(role: &str) {
    match role {
        "key" => {
            let (handle, pem) = exportable_key(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
            // Told digit by digit, so that it stands nowhere as a whole.
            let mut out = std::io::stdout();
            write!(out, "\n>").unwrap();
            pem.expose(|pem| {
                pem.iter().for_each(|byte| write!(out, "{:02x}", byte ^ 0x5a).unwrap())
            });
            drop(pem);
            writeln!(out).unwrap();
            out.flush().unwrap();
            told_to_go_on();
            assert!(!handle.sign(b"something").unwrap().is_empty());
            drop(handle);
        }
        _ => {
            let secret = if role == "locked" { held().locked() } else { held() };
            let right =
                secret.expose(|bytes| bytes.iter().enumerate().all(|(at, one)| *one == byte(at)));
            assert!(right);
            say(if secret.is_locked() { "locked" } else { "held" });
            told_to_go_on();
            drop(secret);
        }
    }
    say("dropped");
    told_to_go_on();
}

/// The one that holds, as its parent sees it.
struct Holder {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Holder {
    fn start(test: &str, role: &str) -> (Self, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut holder = Self { child, input, output: BufReader::new(output) };
        let said = holder.next();
        (holder, said)
    }

    fn next(&mut self) -> String {
        let mut lines = self.output.by_ref().lines().map(Result::unwrap);
        lines.find_map(|line| line.strip_prefix('>').map(str::to_owned)).expect("it says something")
    }

    fn go_on(&mut self) -> String {
        self.input.write_all(b"go on\n").unwrap();
        self.next()
    }

    /// How often `needle` is in its writable memory; the bytes that nobody else may read count as nothing.
    fn finds(&self, needle: &[u8]) -> usize {
        let memory = File::open(format!("/proc/{}/mem", self.child.id())).unwrap();
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.child.id())).unwrap();
        let (mut found, mut seen) = (0, 0);
        for line in maps.lines() {
            let mut columns = line.split_whitespace();
            let (range, rights) = (columns.next().unwrap(), columns.next().unwrap());
            let (from, to) = range.split_once('-').unwrap();
            let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
            if rights.starts_with("rw") {
                let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
                if memory.read_exact_at(&mut bytes, from).is_ok() {
                    seen += bytes.len();
                    found += bytes.windows(needle.len()).filter(|window| *window == needle).count();
                }
            }
        }
        assert!(seen > 100_000, "its memory cannot be read");
        found
    }

    fn end(mut self) {
        drop(self.input);
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

fn canary() -> Vec<u8> {
    (0..LENGTH).map(byte).collect()
}

//= specs/house.md#house-secrets
//= type=test
//# A secret MUST be wiped when it is dropped.
#[test]
fn a_secret_is_there_while_it_is_held_and_gone_after() {
    if let Ok(role) = std::env::var(ROLE) {
        return hold(&role);
    }
    let (mut holder, said) =
        Holder::start("a_secret_is_there_while_it_is_held_and_gone_after", "heap");
    assert_eq!(said, "held");
    assert!(holder.finds(&canary()) > 0, "what is held must be found, or the search is blind");
    assert_eq!(holder.go_on(), "dropped");
    assert_eq!(holder.finds(&canary()), 0);
    holder.end();
}

//= specs/house.md#house-secrets
//= type=test
//# A sealing key, a setup code's verifier and a network key MUST lie in locked memory where the machine gives it.
#[test]
fn a_locked_secret_leaves_no_copy_outside_and_none_after() {
    if let Ok(role) = std::env::var(ROLE) {
        return hold(&role);
    }
    let (mut holder, said) =
        Holder::start("a_locked_secret_leaves_no_copy_outside_and_none_after", "locked");
    assert_eq!(said, "locked", "a test may lock some pages");
    // Its own pages are closed while nobody looks; that there is nothing elsewhere is what counts.
    assert_eq!(holder.finds(&canary()), 0);
    let maps = fs::read_to_string(format!("/proc/{}/smaps", holder.child.id())).unwrap();
    let flags = maps.lines().filter(|line| line.starts_with("VmFlags:"));
    // lo: locked, not swapped. dd: in no core dump. A memfd_secret has both from the kernel.
    let locked = flags.filter(|line| line.contains(" lo") && line.contains(" dd")).count();
    assert!(locked > 0 || maps.contains("secretmem"), "no locked memory");
    assert_eq!(holder.go_on(), "dropped");
    assert_eq!(holder.finds(&canary()), 0);
    holder.end();
}

/// The backend's own memory: it is not locked by us, and it is wiped when the key's handle goes.
//= specs/house.md#house-secrets
//= type=test
//# A secret MUST be wiped when it is dropped.
#[test]
fn a_private_key_is_gone_with_its_handle() {
    if let Ok(role) = std::env::var(ROLE) {
        return hold(&role);
    }
    let (mut holder, said) = Holder::start("a_private_key_is_gone_with_its_handle", "key");
    let pem: Vec<u8> = hex::decode(said).unwrap().iter().map(|byte| byte ^ 0x5a).collect();
    let (_, pkcs8) = der::pem::decode_vec(&pem).unwrap();
    let at = pkcs8.windows(5).position(|window| window == [2, 1, 1, 4, 32]).unwrap() + 5;
    let scalar = pkcs8[at..at + 32].to_vec();
    // As a number in the machine's words, least significant byte first.
    let words: Vec<u8> = scalar.iter().rev().copied().collect();
    let found = |holder: &Holder| holder.finds(&scalar) + holder.finds(&words);
    assert!(found(&holder) > 0, "the key must be found while it is held, or the search is blind");
    assert_eq!(holder.go_on(), "dropped");
    assert_eq!(found(&holder), 0);
    holder.end();
}
