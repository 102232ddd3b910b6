//! The systemd units, judged by systemd.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Running, need};

/// The exposure that `systemd-analyze security` may find, of 10: "OK" ends at 4.9, and ours are far below.
const MOST_EXPOSED: f64 = 2.0;

#[test]
fn the_units_are_well_formed_and_hardened() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/systemd");
    let folder = tempfile::tempdir().unwrap();
    let analyze = |arguments: &[&str], file: &Path| {
        need("systemd-analyze").args(arguments).arg(file).output().unwrap()
    };
    for name in ["countersign-device.service", "countersign-serve.service"] {
        let text = fs::read_to_string(units.join(name)).unwrap();
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        // The command line that the unit starts is one that the binary knows.
        let (binary, arguments) = start.split_once(' ').expect("arguments");
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        let mut started = match binary {
            "/usr/bin/countersign" => Command::new(env!("CARGO_BIN_EXE_countersign")),
            "/usr/bin/countersign-agent" => Command::new(env!("CARGO_BIN_EXE_countersign-agent")),
            other => panic!("{other} of {name} is none of our binaries"),
        };
        let known = Running::start(started.args(&arguments).arg("--help")).finish().with_code(0);
        for flag in arguments.iter().filter(|argument| argument.starts_with("--")) {
            assert!(known.stdout.contains(flag), "{flag} of {name}");
        }
        let file = folder.path().join(name);
        fs::write(&file, text.replace(binary, "/bin/true")).unwrap();
        let verified = analyze(&["verify"], &file);
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success() && !said.contains(name), "{name}: {said}");
        let judged = analyze(&["security", "--offline=true", "--no-pager"], &file);
        let said = String::from_utf8_lossy(&judged.stdout).into_owned();
        let (_, exposure) = said.rsplit_once(".service: ").expect("a verdict");
        let exposure: f64 = exposure.split_whitespace().next().unwrap().parse().unwrap();
        assert!(exposure <= MOST_EXPOSED, "{name}: {said}");
    }
}
