//! A station away from the authority: a kit, a manifest, and what the authority makes of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Authority, countersign, countersign_fails};

/// An authority that made a batch for a station, and the station with the kit.
struct Line {
    authority: Authority,
    kit: PathBuf,
    station: String,
}

impl Line {
    fn new(count: u32) -> Self {
        let authority = Authority::new();
        let place = |name: &str| authority.folder().join(name).to_str().unwrap().to_owned();
        let station = place("station");
        let init = ["authority", "station", "init", "line-1", "--folder", &station];
        let request = countersign(init).with_code(0).stdout;
        assert_eq!(countersign(init).with_code(0).stdout.len(), request.len(), "the same key");
        fs::write(place("station.csr"), request).unwrap();
        let add = ["--quota", "100", "--request", &place("station.csr")];
        let added =
            countersign(authority.command(&["station", "add", "line-1"], &add)).with_code(0).stdout;
        let pin = added.split("--authority ").nth(1).unwrap().trim();
        fs::write(
            place("b.toml"),
            format!(
                "name = \"b\"\nproduct = \"Plug\"\nstation = \"line-1\"\nout = \"made\"\n[serials]\nprefix = \"p-\"\n\
                 count = {count}\n[keys]\nsource = \"station\"\n[pairing]\nclass = \"small-memory\"\n"
            ),
        )
        .unwrap();
        countersign(authority.command(&["provision"], &["--batch", &place("b.toml")])).with_code(0);
        let export = ["--batch", "b", "--made", &place("made"), "--out", &place("kit")];
        countersign(authority.command(&["station", "export"], &export)).with_code(0);
        let line = Self { kit: place("kit").into(), station, authority };
        line.import(&["--authority", &"0".repeat(64)], 2).saying("another authority");
        line.import(&["--authority", pin], 0);
        line
    }

    fn import(&self, more: &[&str], code: i32) -> crate::support::Finished {
        let (kit, key) =
            (self.kit.to_str().unwrap(), self.authority.folder().join("made/transport.key"));
        let mut all = vec!["--kit", kit, "--transport-key", key.to_str().unwrap()];
        all.extend(more);
        let arguments = self.station_command("import", &all);
        if code == 0 {
            countersign(arguments).with_code(0)
        } else {
            countersign_fails(code, arguments)
        }
    }

    fn station_command(&self, command: &str, more: &[&str]) -> Vec<String> {
        let fixed = ["authority", "station", command, "--folder", &self.station];
        fixed.iter().chain(more).map(|one| (*one).to_owned()).collect()
    }

    fn take(&self, more: &[&str]) -> String {
        let out = self.authority.folder().join("next");
        let all = [&["--batch", "b", "--out", out.to_str().unwrap()], more].concat();
        countersign(self.station_command("take", &all)).with_code(0).stdout.trim().to_owned()
    }

    fn mark(&self, outcome: &str, serial: &str) {
        let fixed = ["authority", "station", "mark", outcome, "--folder", &self.station];
        let more = ["--batch", "b", "--serial", serial, "--why", "as tested"];
        countersign(fixed.iter().chain(&more)).with_code(0);
    }

    fn manifest(&self) -> PathBuf {
        Path::new(&self.station).join("b/manifest")
    }

    fn reconcile(&self, manifest: &Path) -> Vec<String> {
        let data = self.authority.data();
        ["authority", "reconcile", manifest.to_str().unwrap(), "--data", data.to_str().unwrap()]
            .map(str::to_owned)
            .to_vec()
    }

    fn show(&self) -> Value {
        let show = self.authority.command(&["batch", "show", "b"], &["--json"]);
        serde_json::from_str(&countersign(show).with_code(0).stdout).unwrap()
    }
}

//= specs/house.md#house-factory
//= type=test
//# An identity that was scrapped MUST be revoked.
#[test]
fn what_the_station_says_is_reconciled() {
    let line = Line::new(5);
    for serial in ["p-000001", "p-000002", "p-000003"] {
        assert!(line.take(&[]).ends_with(&format!("{serial}.factory")));
    }
    let out = line.authority.folder().join("next");
    let again = ["--batch", "b", "--out", out.to_str().unwrap(), "--serial", "p-000001"];
    countersign_fails(2, line.station_command("take", &again)).saying("handed out before");
    line.take(&["--serial", "p-000001", "--again"]);
    line.mark("shipped", "p-000001");
    line.mark("scrapped", "p-000002");
    countersign(line.reconcile(&line.manifest())).with_code(0).saying("1 shipped, 1 scrapped");
    countersign_fails(1, line.reconcile(&line.manifest())).saying("nothing new");
    let shown = line.show();
    let count = |what: &str| shown[what].as_u64().unwrap();
    assert_eq!(
        (count("issued"), count("shipped"), count("scrapped"), count("unaccounted")),
        (5, 1, 1, 3)
    );
    let subjects = line.authority.command(&["subjects"], &[]);
    countersign(subjects).with_code(0).saying("retired      thing:p-000002");

    // It goes on: a device comes back broken, and another is shipped.
    line.mark("scrapped", "p-000001");
    line.mark("shipped", "p-000003");
    countersign(line.reconcile(&line.manifest())).with_code(0).saying("2 new records");
    let shown = line.show();
    let states: Vec<&str> = shown["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["scrapped", "scrapped", "shipped", "unaccounted", "unaccounted"]);
    let labels = line.authority.folder().join("labels");
    let label = ["--batch", "b", "--out", labels.to_str().unwrap(), "--format", "svg"];
    countersign(line.authority.command(&["label"], &label)).with_code(0).saying("3 labels");
    countersign(line.authority.command(&["ledger", "verify"], &[])).with_code(0);
}

#[test]
fn what_is_not_as_it_was_given_is_refused() {
    let line = Line::new(3);
    // A kit that was touched, or is for somebody else.
    let stray = line.kit.join("p-000003.factory");
    let content = fs::read(&stray).unwrap();
    fs::remove_file(&stray).unwrap();
    line.import(&[], 2).saying("removed, added or exchanged");
    fs::write(line.kit.join("p-000003.factory"), &content[..content.len() - 1]).unwrap();
    line.import(&[], 2).saying("p-000003.factory");
    fs::write(&stray, &content).unwrap();
    line.import(&[], 0);
    let other = line.authority.folder().join("other");
    let other = other.to_str().unwrap();
    countersign(["authority", "station", "init", "line-2", "--folder", other]).with_code(0);
    let pin = fs::read_to_string(Path::new(&line.station).join("authority.sha256")).unwrap();
    let (kit, key) =
        (line.kit.to_str().unwrap(), line.authority.folder().join("made/transport.key"));
    let import =
        ["authority", "station", "import", "--folder", other, "--kit", kit, "--transport-key"];
    let import = [&import[..], &[key.to_str().unwrap(), "--authority", &pin]].concat();
    countersign_fails(2, import).saying("another station");

    // A manifest that was changed, cut, or begun anew.
    line.take(&[]);
    line.take(&[]);
    line.mark("shipped", "p-000001");
    let good = fs::read(line.manifest()).unwrap();
    let copy = line.authority.folder().join("manifest");
    let mut changed = good.clone();
    let at = changed.len() - 10;
    changed[at] ^= 1;
    let first = 2 + usize::from(u16::from_be_bytes([good[0], good[1]]));
    for bad in [
        &changed[..],
        &good[..good.len() - 3],
        &good[first..],
        &[&good[..first], &good[..]].concat(),
    ] {
        fs::write(&copy, bad).unwrap();
        countersign_fails(1, line.reconcile(&copy)).saying("record");
    }
    assert_eq!(line.show()["shipped"], 0, "nothing of a refused one is taken");
    countersign(line.reconcile(&line.manifest())).with_code(0);
    fs::write(&copy, &good[..first]).unwrap();
    countersign_fails(1, line.reconcile(&copy)).saying("nothing new");
    // The station loses its manifest and says something else.
    fs::remove_file(line.manifest()).unwrap();
    for _ in 0..3 {
        line.take(&[]);
    }
    line.mark("scrapped", "p-000001");
    countersign_fails(1, line.reconcile(&line.manifest())).saying("written its past anew");
    // What a kill left half-written is cut off, and the station goes on.
    fs::write(line.manifest(), [&good[..], &good[..20]].concat()).unwrap();
    line.mark("shipped", "p-000002");
    countersign(line.reconcile(&line.manifest())).with_code(0).saying("1 new records");
}
