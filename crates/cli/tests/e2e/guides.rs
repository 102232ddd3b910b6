//! The guides are run as they stand: every block of theirs, in its order, in a copy of the example's folder.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{Finished, Product, Running, as_root, need, until};

/// A whole guide on a loaded machine.
const LONG: Duration = Duration::from_secs(240);

fn guides() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides")
}

/// The blocks of these names, in their order. A line that begins with `!` must fail.
fn blocks(names: &[&str]) -> String {
    let text = fs::read_to_string(guides().join("existing-product.md")).unwrap();
    let mut script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    for name in names {
        let (_, rest) = text.split_once(&format!("\n```sh {name}\n")).expect(name);
        let (block, _) = rest.split_once("\n```").expect("the block's end");
        for line in block.lines() {
            match line.strip_prefix("! ") {
                Some(line) => {
                    script +=
                        &format!("if {line}; then echo 'this worked: {line}' >&2; exit 9; fi\n");
                }
                None => script += &format!("{line}\n"),
            }
        }
    }
    script
}

/// Ports of the guide, and free ones in their place.
fn ports(of: &[&str]) -> Vec<(String, String)> {
    let held: Vec<_> = of.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let free = held.iter().map(|one| one.local_addr().unwrap().port().to_string());
    of.iter().map(|port| (*port).to_owned()).zip(free).collect()
}

fn run(example: &str, names: &[&str]) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let ports = ports(&["8080", "5540", "5541", "5550", "5551"]);
    // In two steps: a free port may hold the digits of a written one.
    let placed = |text: String| {
        let numbered = || ports.iter().enumerate();
        let marked = numbered()
            .fold(text, |text, (at, (written, _))| text.replace(written, &format!("@port-{at}@")));
        numbered().fold(marked, |text, (at, (_, free))| text.replace(&format!("@port-{at}@"), free))
    };
    for entry in fs::read_dir(guides().join(example)).unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap();
        fs::write(folder.path().join(entry.file_name()), placed(text)).unwrap();
    }
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for binary in
        [env!("CARGO_BIN_EXE_countersign"), env!("CARGO_BIN_EXE_countersign-agent")].map(Path::new)
    {
        let named = bin.join(binary.file_name().expect("a file"));
        std::os::unix::fs::symlink(binary, named).unwrap();
    }
    need("curl");
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "200", "bash", "-c", &placed(blocks(names))]);
    command.current_dir(folder.path()).env("AS_ROOT", as_root().unwrap_or_default());
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    Running::start(&mut command).end_within(LONG).expect("an end").without_panic()
}

#[test]
fn the_heater_gets_its_gate_as_the_guide_says() {
    let names = ["before", "check", "inside", "run", "pair", "use", "refused", "after", "end"];
    let ended = run("heater", &names).with_code(0);
    for words in ["everything is bound", "19.5", "21.5", "\"target\": 30.0"] {
        assert!(ended.stdout.contains(words), "{words}: {ended}");
    }
}

#[test]
fn the_lamp_serves_its_socket_as_the_guide_says() {
    let ended = run("lamp", &["lamp"]).with_code(0);
    assert!(ended.stdout.contains("60"), "{ended}");
    ended.saying("switch it on first");
}

//= specs/house.md#house-bindings
//= type=test
//# A product behind the gate that can be reached beside it MUST stop the device.
#[test]
fn a_product_that_stays_open_to_the_network_stops_the_device_by_name() {
    let ports = ports(&["8080"]);
    let (_, port) = &ports[0];
    let mut heater = Command::new("/usr/bin/python3");
    heater.arg(guides().join("heater/heater.py")).args(["0.0.0.0", port]);
    let heater = Running::start(&mut heater);
    until("the heater is there", || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).ok());
    let authority = crate::support::Authority::new();
    let device = crate::support::Device::provision(&authority, "plug-000001");
    let folder = authority.folder().join("product");
    fs::create_dir(&folder).unwrap();
    let text = |name: &str| fs::read_to_string(guides().join("heater").join(name)).unwrap();
    fs::write(folder.join("thing.td.json"), text("heater.td.json")).unwrap();
    let bindings = text("heater.bindings.toml").replace("8080", port);
    fs::write(folder.join("bindings.toml"), bindings).unwrap();
    let ended = Running::start(&mut Product::command(&authority, &device)).finish().with_code(2);
    let said = format!("can be reached beside it, at tcp 0.0.0.0:{port}");
    assert!(ended.stderr.contains(&said), "{ended}");
    heater.kill();
}
