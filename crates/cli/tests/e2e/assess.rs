//! The assessor from the command line, at a device of ours that runs as a process.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Authority, Device, Home, House, countersign};

/// A device at an address of its own, in a home, with its declaration.
struct Subject {
    house: House,
    _device: Device,
    home: Home,
    declaration: PathBuf,
}

/// No other program of this machine listens at such an address, unless it listens at all of them.
const ADDRESS: &str = "127.80.103.1";

fn subject() -> Subject {
    let house = House::new();
    let mut device = Device::provision(&house, "plug-000001");
    device.address = Some(ADDRESS.to_owned());
    device.start();
    let home = Home::new(&house, "home");
    let label = device.label.clone();
    home.pair(&house, &mut device, &["--label", &label]).with_code(0);
    device.connected();
    for (person, role) in [("owner", "owner"), ("vera", "viewer")] {
        let out = house.folder().join("persons");
        let place = ["--person", person, "--role", role, "--out", out.to_str().unwrap()];
        home.with("admit", &device, &place).with_code(0);
    }
    let declared = device.declaration();
    let declaration = house.folder().join("ixit.json");
    fs::write(&declaration, declared).unwrap();
    Subject { house, _device: device, home, declaration }
}

impl Subject {
    /// `assess run` into this folder; the report, and whether something failed.
    fn assess(&self, out: &str, more: &[String]) -> (Value, bool) {
        let out = self.house.folder().join(out);
        let persons = self.house.folder().join("persons");
        let mut arguments: Vec<String> =
            ["assess", "run", "--no-udp", "--json", "--target", ADDRESS]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(["--declaration".into(), self.declaration.display().to_string()]);
        arguments.extend(["--roots".into(), self.house.roots().display().to_string()]);
        arguments.extend(["--out".into(), out.display().to_string()]);
        for (role, person) in [("owner", "owner"), ("viewer", "vera")] {
            arguments.push("--credential".into());
            arguments.push(format!("{role}={}", persons.join(person).display()));
        }
        // What listens at every address of this machine is not the device's.
        arguments.extend(
            listening_everywhere()
                .into_iter()
                .flat_map(|port| ["--baseline-port".to_owned(), port.to_string()]),
        );
        arguments.extend(more.iter().cloned());
        let ended = countersign(arguments);
        let failed = match ended.code {
            Some(0) => false,
            Some(1) => true,
            _ => panic!("{ended}"),
        };
        (serde_json::from_str(&ended.stdout).unwrap(), failed)
    }
}

/// The TCP ports that some program of this machine has open at every address.
fn listening_everywhere() -> Vec<u16> {
    let table = |name: &str| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let (four, six) = (table("tcp"), table("tcp6"));
    four.lines()
        .chain(six.lines())
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (address, port) = fields.get(1)?.rsplit_once(':')?;
            let listens =
                fields.get(3) == Some(&"0A") && address.bytes().all(|digit| digit == b'0');
            listens.then(|| u16::from_str_radix(port, 16).ok()).flatten()
        })
        .collect()
}

fn verdicts(report: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(report["verdicts"].clone()).unwrap()
}

//= specs/house.md#house-assessor
//= type=test
//# A report MUST be reproducible from its evidence.
#[test]
fn a_report_is_reproduced_from_its_evidence_byte_for_byte() {
    let subject = subject();
    let (report, failed) = subject.assess("report", &[]);
    let verdicts = verdicts(&report);
    assert_eq!(verdicts.len(), 14, "{verdicts:?}");
    assert_eq!(failed, verdicts.values().any(|verdict| verdict == "FAIL"));
    // Of what a device shows of itself, nothing is wrong with ours.
    for functional in ["5.5-1-2", "5.5-4-2", "5.5-5-2", "5.5-6-2", "5.5-7-2"] {
        assert_ne!(verdicts[functional], "FAIL", "{functional}: {report}");
    }

    let folder = subject.house.folder();
    let again = folder.join("again");
    let evidence = folder.join("report/evidence.json");
    let replay = |bundle: &PathBuf| {
        countersign([
            "assess",
            "replay",
            bundle.to_str().unwrap(),
            "--out",
            again.to_str().unwrap(),
        ])
    };
    assert_eq!(replay(&evidence).code, Some(i32::from(failed)));
    for file in ["report.html", "report.json", "evidence.json"] {
        let same = fs::read(folder.join("report").join(file)).unwrap()
            == fs::read(again.join(file)).unwrap();
        assert!(same, "{file} differs");
    }

    // Evidence that was touched is none.
    let text = fs::read_to_string(&evidence).unwrap();
    let forged = folder.join("forged.json");
    fs::write(&forged, text.replacen("plug-000001", "plug-000002", 1)).unwrap();
    replay(&forged).with_code(2).saying("forged.json");
    fs::write(&forged, &text[..text.len() / 2]).unwrap();
    replay(&forged).with_code(2).saying("forged.json");

    // A debug door that the declaration does not know, at the device's own address.
    let door = TcpListener::bind((ADDRESS, 0)).unwrap();
    let port = door.local_addr().unwrap().port().to_string();
    let (report, failed) = subject.assess("with-a-door", &[]);
    assert!(failed);
    assert_eq!(self::verdicts(&report)["5.5-5-2"], "FAIL", "port {port}");
    assert!(report.to_string().contains(&port), "the report names the port {port}");
    drop(door);

    // The assessment changed nothing: the owner still owns, the viewer still views.
    let power = |person: &str| {
        subject.home.control("get", &["--thing", "plug-000001", "--as", person, "power"]).code
    };
    assert_eq!((power("owner"), power("vera")), (Some(0), Some(0)));
}

#[test]
fn a_declaration_that_cannot_be_read_is_named() {
    let folder = Authority::without_ceremony();
    let file = folder.folder().join("ixit.json");
    for text in ["", "{}", "not json", "[1]"] {
        fs::write(&file, text).unwrap();
        let name = file.to_str().unwrap();
        countersign(["assess", "run", "--declaration", name, "--target", ADDRESS])
            .with_code(2)
            .saying(name);
    }
}

#[test]
fn every_test_case_is_explained() {
    let list = countersign(["assess", "explain"]).with_code(0).stdout;
    let cases: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(cases.len(), 14, "{list}");
    for case in cases {
        let text = countersign(["assess", "explain", case]).with_code(0).stdout;
        assert!(text.len() > 40, "{case}: {text}");
    }
    countersign(["assess", "explain", "5.5-9-9"]).with_code(2).saying("5.5-9-9");
}
