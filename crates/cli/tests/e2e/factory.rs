//! The factory by its commands: a batch that is killed and carried on, quotas, devices that ask, labels on paper.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Authority, Running, countersign, countersign_fails, need, program, until};

/// Identities of the batch that is killed.
const COUNT: usize = 200;

fn batch(authority: &Authority, name: &str, serials: &str, keys: &str) -> String {
    let path = authority.folder().join(format!("{name}.toml"));
    let text = format!(
        "name = \"{name}\"\nproduct = \"Plug\"\nstation = \"line-1\"\nout = \"{name}\"\n\
         [serials]\n{serials}\n[keys]\n{keys}\n[pairing]\nclass = \"small-memory\"\n"
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn station(authority: &Authority, quota: &str) {
    countersign(authority.command(&["station", "add", "line-1"], &["--quota", quota])).with_code(0);
}

fn ask(authority: &Authority, command: &[&str], arguments: &[&str]) -> Value {
    let ended = countersign(authority.command(command, &[arguments, &["--json"]].concat()));
    serde_json::from_str(&ended.with_code(0).stdout).unwrap()
}

fn packages(folder: &Path) -> usize {
    let Ok(listed) = fs::read_dir(folder) else { return 0 };
    let ending = |path: PathBuf| path.extension().is_some_and(|ending| ending == "factory");
    listed.filter(|entry| ending(entry.as_ref().unwrap().path())).count()
}

/// What the QR codes of PDF sheets say, by an ordinary renderer and a decoder that is not ours.
fn read_labels(folder: &Path) -> Vec<String> {
    let mut read = Vec::new();
    let mut sheets: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    sheets.retain(|path| path.extension().is_some_and(|ending| ending == "pdf"));
    for sheet in sheets {
        let printed = need("pdftoppm").args(["-gray", "-r", "150"]).arg(&sheet).output().unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let mut rest = &printed.stdout[..];
        while !rest.is_empty() {
            // "P5 width height 255" and the dots.
            let head: Vec<&[u8]> = rest.splitn(4, u8::is_ascii_whitespace).collect();
            let number = |text: &[u8]| std::str::from_utf8(text).unwrap().parse::<usize>().unwrap();
            let (width, height, after) = (number(head[1]), number(head[2]), head[3]);
            let dots = after.split_at(4).1;
            // Three by eight labels of 70 by 37 mm, each looked at by itself, as a camera does.
            let label = (width / 3, height * 37 / 297);
            for cell in 0..24 {
                let (left, top) = (cell % 3 * label.0, cell / 3 * label.1);
                let dot = |x: usize, y: usize| dots[(top + y).min(height - 1) * width + left + x];
                let prepare = rqrr::PreparedImage::prepare_from_greyscale;
                let mut image = prepare(label.0, label.1, dot);
                read.extend(image.detect_grids().iter().map(|grid| grid.decode().unwrap().1));
            }
            rest = &dots[width * height..];
        }
    }
    read
}

//= specs/house.md#house-factory
//= type=test
//# A batch that was killed at any instant MUST be carried on without a second certificate or setup code for a serial.
#[test]
fn a_batch_that_is_killed_three_times_is_made_once() {
    let authority = Authority::new();
    station(&authority, "1000");
    let serials = format!("prefix = \"plug-\"\ncount = {COUNT}");
    let file = batch(&authority, "b", &serials, "source = \"station\"");
    let command = authority.command(&["provision"], &["--batch", &file]);
    let out = authority.folder().join("b");
    let mut codes = BTreeSet::new();
    for wanted in [1, 65, 129] {
        let mut running = Running::start(&mut program(&command));
        until("some identities", || {
            assert!(!running.has_ended(), "too fast to be killed: {}", running.seen());
            (packages(&out) >= wanted).then_some(())
        });
        running.kill();
        // What was printed before the next kill is what stands after it.
        let labels = authority.folder().join(format!("labels-{wanted}"));
        let serial = format!("plug-{wanted:06}");
        let one = ["--batch", "b", "--out", labels.to_str().unwrap(), "--serial", &serial];
        countersign(authority.command(&["label"], &one)).with_code(0);
        codes.extend(read_labels(&labels));
    }
    assert_eq!(codes.len(), 3);
    countersign(&command).with_code(0);
    countersign(&command).with_code(0).saying(&format!("{COUNT}  there already"));
    assert_eq!(
        fs::read_dir(&out).unwrap().count(),
        COUNT + 1,
        "each file, the transport key, no remains"
    );

    let labels = authority.folder().join("labels");
    let to = labels.to_str().unwrap();
    countersign(authority.command(&["label"], &["--batch", "b", "--out", to])).with_code(0);
    let all: BTreeSet<String> = read_labels(&labels).into_iter().collect();
    assert_eq!(all.len(), COUNT, "every label is read, and no two are the same");
    assert!(codes.is_subset(&all), "a code changed after a kill");
    let part = |at: usize| {
        all.iter().map(|text| text.split(':').nth(at).unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!((part(1).len(), part(2).len()), (COUNT, COUNT), "a code and a serial each");

    let shown = ask(&authority, &["batch", "show", "b"], &[]);
    let items = shown["items"].as_array().unwrap();
    let keys: BTreeSet<&str> =
        items.iter().map(|one| one["key_sha256"].as_str().unwrap()).collect();
    assert_eq!((shown["issued"].as_u64(), keys.len()), (Some(COUNT as u64), COUNT));

    // So many are not taken back by a slip of the hand, and a typing error is no revocation.
    let subjects = || ask(&authority, &["subjects"], &[])["subjects"].clone();
    let before = subjects();
    assert!(before.as_array().unwrap().len() >= COUNT);
    let revoke = |batch: &str| authority.command(&["revoke"], &["--batch", batch]);
    countersign_fails(1, revoke("b")).saying("--yes");
    countersign_fails(1, revoke("bb")).saying("no such batch");
    assert_eq!(subjects(), before);
    let issued = fs::read_to_string(authority.data().join("authority/ledger.log")).unwrap();
    assert_eq!(issued.matches("\"kind\":\"factory-identity\"").count(), COUNT);
    countersign(authority.command(&["ledger", "verify"], &[])).with_code(0);
    let stations = ask(&authority, &["station", "list"], &[]);
    assert_eq!(stations["stations"][0]["used"], COUNT as u64);

    // The device takes its file, and is who its label says.
    let device = authority.folder().join("device");
    let package = out.join("plug-000200.factory");
    let key = out.join("transport.key");
    let (device, package, key) =
        (device.to_str().unwrap(), package.to_str().unwrap(), key.to_str().unwrap());
    let install =
        ["device", "identity", "--data", device, "--install", package, "--transport-key", key];
    countersign(install).with_code(0);
    countersign_fails(2, install).saying("has an identity already");
    let who = countersign(["device", "identity", "--data", device]).with_code(0);
    let who: Value = serde_json::from_str(&who.stdout).unwrap();
    let item = items.iter().find(|one| one["serial"] == "plug-000200").unwrap();
    assert_eq!(who["idevid"]["publicKeySha256"], item["key_sha256"]);

    // Not by a slip of the hand either.
    let printed = ["--batch", "b", "--printed"];
    countersign_fails(1, authority.command(&["label"], &printed)).saying("--yes");
    countersign(authority.command(&["label"], &["--batch", "b", "--out", to])).with_code(0);
    let sure = [&printed[..], &["--yes"]].concat();
    countersign(authority.command(&["label"], &sure)).with_code(0);
    let again = authority.command(&["label"], &["--batch", "b", "--out", to]);
    countersign_fails(2, again).saying("destroyed");
}

#[test]
fn devices_ask_and_what_is_refused_is_listed() {
    let authority = Authority::new();
    station(&authority, "2");
    let serials = "list = [\"lamp-1\", \"lamp-2\", \"lamp-3\"]";
    let file = batch(&authority, "b", serials, "source = \"device\"\nrequests = \"requests\"");
    let requests = authority.folder().join("requests");
    fs::create_dir(&requests).unwrap();
    let data = |serial: &str| authority.folder().join(serial).to_str().unwrap().to_owned();
    let lines: String = ["lamp-1", "lamp-2", "lamp-3"]
        .map(|serial| {
            let asked = ["device", "identity", "--data", &data(serial), "--request", serial];
            countersign(asked).with_code(0).stdout
        })
        .concat();
    fs::write(requests.join("line.jsonl"), lines + "nonsense\n").unwrap();
    let provision =
        |more: &[&str]| authority.command(&["provision"], &[&["--batch", &file], more].concat());
    countersign_fails(1, provision(&["--dry-run"])).saying("line.jsonl:4");
    assert_eq!(packages(&authority.folder().join("b")), 0, "it only looked");
    let refused = countersign_fails(1, provision(&[]));
    refused.saying("quota of station line-1 is used up (2)");
    assert_eq!(packages(&authority.folder().join("b")), 2);
    let set = authority.command(&["station", "set", "line-1"], &["--quota", "3"]);
    countersign(set).with_code(0);
    fs::remove_file(requests.join("line.jsonl")).unwrap();
    let third = ["device", "identity", "--data", &data("lamp-3"), "--request", "lamp-3"];
    fs::write(requests.join("3.jsonl"), countersign(third).with_code(0).stdout).unwrap();
    countersign(provision(&[])).with_code(0);
    let out = authority.folder().join("b");
    for serial in ["lamp-1", "lamp-2", "lamp-3"] {
        let package = out.join(format!("{serial}.factory"));
        let key = out.join("transport.key");
        let (package, key) = (package.to_str().unwrap(), key.to_str().unwrap());
        // A file of another device is not taken.
        let other = data(if serial == "lamp-1" { "lamp-2" } else { "lamp-1" });
        let install = |data: &str| {
            ["device", "identity", "--data", data, "--install", package, "--transport-key", key]
                .map(str::to_owned)
        };
        if serial == "lamp-1" {
            countersign_fails(2, install(&other)).saying("lamp-2");
        }
        countersign(install(&data(serial))).with_code(0);
    }
    let subjects = ask(&authority, &["subjects"], &[]);
    let made = subjects["subjects"].as_array().unwrap().iter();
    assert_eq!(made.filter(|one| one["state"] == "manufactured").count(), 3);
}

#[test]
fn the_example_is_printed_and_wrong_batches_are_explained() {
    let example = countersign(["authority", "provision", "--example"]).with_code(0).stdout;
    let authority = Authority::new();
    let path = authority.folder().join("batch.toml");
    fs::write(&path, &example).unwrap();
    let file = path.to_str().unwrap();
    let provision = || authority.command(&["provision"], &["--batch", file]);
    countersign_fails(2, provision()).saying("station add");
    fs::write(&path, example.replace("quota = 10000", "quote = 1")).unwrap();
    countersign_fails(2, provision()).saying("batch.toml").saying("quote");
    countersign_fails(2, authority.command(&["batch", "show", "nobody"], &[])).saying("nobody");
    let token = "source = \"token\"\n[keys.token]\nmodule = \"/nowhere.so\"\nlabel = \"t\"\npin_file = \"pin\"";
    station(&authority, "5");
    let file = batch(&authority, "t", "list = [\"x\"]", token);
    let wrong = authority.command(&["provision"], &["--batch", &file]);
    countersign_fails(2, wrong).saying("nowhere.so");
}
