//! A root that custodians hold in a file that left the machine: ceremony, `serve` without it, a roll, and what is refused.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Client, Finished, House, Version, countersign};

const PASSPHRASE: &str = "a long enough passphrase";

/// Three people with their own machines, which is a folder each, and a stick that goes round.
struct Custodians {
    folder: PathBuf,
}

impl Custodians {
    fn new(house: &House) -> Self {
        let folder = house.folder().join("custodians");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn make(&self, name: &str) -> String {
        let (out, passphrase) = (self.file(&format!("{name}.key")), self.file("passphrase"));
        let arguments = ["authority", "custodian", "new", "--name", name, "--out"];
        let mut all: Vec<OsString> = arguments.map(OsString::from).into();
        all.extend([out.into(), "--passphrase-file".into(), passphrase.into()]);
        countersign(all).with_code(0).stdout
    }

    /// A plan that needs two of them, its root in a file.
    fn plan(&self) -> PathBuf {
        let example = self.file("example.toml");
        let write = ["authority", "ceremony", "--write-plan"].map(OsString::from);
        countersign(write.into_iter().chain([example.clone().into()])).with_code(0);
        let mut text = fs::read_to_string(example).unwrap();
        text.push_str("custodians_needed = 2\n[root]\nkeep = \"file\"\n");
        for name in ["alice", "bob", "carol"] {
            text.push_str(&self.make(name));
        }
        let plan = self.file("plan.toml");
        fs::write(&plan, text).unwrap();
        plan
    }

    fn approve(&self, name: &str, request: &Path) -> PathBuf {
        let shown = countersign(
            ["authority".into(), "root".into(), "show".into(), request.into()] as [OsString; 4]
        )
        .with_code(0)
        .stdout;
        let digest = shown.split("digest").nth(1).unwrap().trim();
        self.approve_read(name, request, &digest[..12]).with_code(0);
        self.file(&format!("{name}.approval"))
    }

    fn approve_read(&self, name: &str, request: &Path, digest: &str) -> Finished {
        let all: Vec<OsString> = vec![
            "authority".into(),
            "root".into(),
            "approve".into(),
            request.into(),
            "--key".into(),
            self.file(&format!("{name}.key")).into(),
            "--passphrase-file".into(),
            self.file("passphrase").into(),
            "--out".into(),
            self.file(&format!("{name}.approval")).into(),
            "--read".into(),
            digest.into(),
        ];
        countersign(all)
    }

    fn stick(&self) -> PathBuf {
        self.file("root.sealed")
    }

    /// `--root`, `--request` and `--approval` of these.
    fn access(&self, request: &Path, approvals: &[PathBuf]) -> Vec<OsString> {
        let mut all: Vec<OsString> =
            vec!["--root".into(), self.stick().into(), "--request".into(), request.into()];
        for one in approvals {
            all.extend(["--approval".into(), one.into()]);
        }
        all
    }
}

fn with(house: &House, command: &[&str], arguments: &[&str], more: Vec<OsString>) -> Finished {
    let mut all = house.command(command, arguments);
    all.extend(more);
    countersign(all)
}

/// The one request that lies in the folder.
fn request(house: &House) -> PathBuf {
    let folder = fs::read_dir(house.data().join("authority/root")).unwrap().flatten();
    let mut all = folder
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "request"));
    all.next().unwrap()
}

fn contains(folder: &Path, needle: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| match entry.path() {
        path if path.is_dir() => contains(&path, needle),
        path => fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle),
    })
}

//= specs/house.md#house-custody
//= type=test
//# The root MUST NOT sign without the approvals of as many different custodians as the plan says.
//= specs/house.md#house-custody
//= type=test
//# A root that is kept in a file MUST NOT be written into the data folder.
#[test]
fn two_of_three_hold_the_root_and_serve_runs_without_it() {
    let mut house = House::stopped();
    let people = Custodians::new(&house);
    let plan = people.plan();
    let plan = plan.to_str().unwrap();
    let stick: Vec<OsString> = vec!["--root".into(), people.stick().into()];

    // The ceremony stops where people are to be asked, and says for what.
    with(&house, &["ceremony"], &["--plan", plan], Vec::new()).with_code(2).saying("--root FILE");
    with(&house, &["ceremony"], &["--plan", plan], stick.clone())
        .with_code(0)
        .saying("2 of alice, bob, carol")
        .saying("Example Manufacturer LDevID CA");
    let asked = request(&house);
    people.approve_read("alice", &asked, "00000000000").with_code(1).saying("read it again");
    let alice = people.approve("alice", &asked);
    let few = people.access(&asked, std::slice::from_ref(&alice));
    with(&house, &["ceremony"], &["--plan", plan], few).with_code(1).saying("1 of the 2");
    let twice = people.access(&asked, &[alice.clone(), alice.clone()]);
    with(&house, &["ceremony"], &["--plan", plan], twice)
        .with_code(1)
        .saying("alice approved twice");
    let carol = people.approve("carol", &asked);
    let both = people.access(&asked, &[alice, carol]);
    with(&house, &["ceremony"], &["--plan", plan], both)
        .with_code(0)
        .saying("2 of 3: alice, bob, carol");

    // What a stranger makes of the transcript.
    let transcript = house.data().join("authority/transcript.txt");
    let jsonl = house.folder().join("ledger.jsonl");
    with(&house, &["ledger", "export"], &[], vec!["--jsonl".into(), jsonl.clone().into()])
        .with_code(0);
    let key = jsonl.with_extension("key");
    let verify = |file: &Path| {
        let start = ["authority", "transcript", "verify"].map(OsString::from);
        countersign(start.into_iter().chain([
            file.into(),
            "--ledger-key".into(),
            key.clone().into(),
        ]))
    };
    verify(&transcript).with_code(0).saying("alice").saying("digest of the file");
    let forged = house.folder().join("forged.txt");
    fs::write(&forged, fs::read_to_string(&transcript).unwrap().replace("carol", "mallory"))
        .unwrap();
    verify(&forged).with_code(1);

    // The root leaves. Nothing of it stays, and everything runs.
    let sealed = fs::read(people.stick()).unwrap();
    let away = house.folder().join("safe");
    fs::rename(people.stick(), &away).unwrap();
    assert!(!contains(&house.data(), &sealed[sealed.len() - 64..]));
    house.start();
    let device = house.device("plug-000001");
    Client::new(&house, &device, Version::V5).publish(
        1,
        "things/plug-000001/properties/power",
        "1",
    );

    // A roll, while it runs.
    with(&house, &["rotate"], &["--ca", "ldevid"], Vec::new()).with_code(2).saying("root request");
    let asked = house.folder().join("roll.txt");
    with(
        &house,
        &["root", "request"],
        &["--ca", "ldevid"],
        vec!["--out".into(), asked.clone().into()],
    )
    .with_code(0)
    .saying("ldevid-ca-2");
    let approvals = [people.approve("bob", &asked), people.approve("carol", &asked)];
    let access = people.access(&asked, &approvals);
    with(&house, &["rotate"], &["--ca", "ldevid"], access.clone())
        .with_code(2)
        .saying("the root's file is not there");
    fs::rename(&away, people.stick()).unwrap();
    with(&house, &["rotate"], &["--ca", "ldevid"], access)
        .with_code(0)
        .saying("activated  ldevid-ca-2");
    Client::new(&house, &device, Version::V5).publish(
        1,
        "things/plug-000001/properties/power",
        "2",
    );
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
    house.is_well();
}
