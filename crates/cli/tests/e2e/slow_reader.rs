//! Subscribers that never read, while a product tells more than anybody could keep for them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use countersign_controller::Home as Household;
use serde_json::json;

use crate::matrix::person;
use crate::support::{Product, Running, need, path_text, until};

/// Who never reads.
const SLOW: usize = 3;

/// Most that the agent may grow by, in KiB; what the product tells meanwhile is many times that.
const MOST_KIB: u64 = 64 * 1024;

/// Events of 8 KiB, about 300 a second: 2 MiB each second for each reader.
const FLOOD: &str = "import json,sys,time\nn=0\nwhile True:\n    n+=1\n    \
    sys.stdout.write(json.dumps(str(n)+'.'+'x'*8000)+'\\n')\n    sys.stdout.flush()\n    time.sleep(0.003)\n";

fn thing() -> String {
    json!({
        "@context": ["https://www.w3.org/2022/wot/td/v1.1", { "countersign": "urn:countersign:td#" }],
        "title": "Fountain",
        "securityDefinitions": { "home": { "scheme": "auto" } },
        "security": ["home"],
        "properties": {
            "level": { "type": "number", "countersign:role": "viewer", "readOnly": true }
        },
        "events": { "drop": { "data": { "type": "string" }, "countersign:role": "viewer" } },
    })
    .to_string()
}

fn bindings(folder: &Path) -> String {
    fs::write(folder.join("level"), "7\n").unwrap();
    fs::write(folder.join("flood.py"), FLOOD).unwrap();
    format!(
        "[sandbox]\nread = [\"flood.py\"]\n[properties.level]\nread = {{ file = \"level\" }}\n[events]\n\
         drop = {{ command = [\"/usr/bin/python3\", \"{}/flood.py\"] }}\n",
        path_text(folder)
    )
}

/// A field of `/proc/ID/status`, in KiB.
fn memory(id: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
}

/// Connections that the agent holds at its local API.
fn connections(api: SocketAddr) -> usize {
    let port = format!(":{:04X}", api.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let established = table.lines().skip(1).filter(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        columns[1].ends_with(&port) && columns[3] == "01"
    });
    established.count()
}

//= specs/house.md#house-gate
//= type=test
//# A peer that does not read MUST be dropped and not be buffered for.
#[test]
fn who_does_not_read_is_dropped_and_costs_the_others_nothing() {
    let product = Product::start(&thing(), bindings);
    let api: SocketAddr = product.status("api").parse().unwrap();
    let people = product.authority.folder().join("people");
    let home = Household::open(&product.home.folder).unwrap();
    let readers = ["slow", "quick"].map(|name| {
        let arguments = ["--person", name, "--role", "viewer"];
        product.control("admit", &arguments).with_code(0);
        person(&home, &people, name)
    });
    let roots = product.authority.roots();
    let subscribe = |reader: usize, more: &[&str]| {
        let mut command = need("curl");
        let place = format!("plug-000001.local:{}:{}", api.port(), api.ip());
        command.args(["-sSN", "--http1.1", "-H", "Accept: text/event-stream", "--resolve", &place]);
        command.arg("--cacert").arg(&roots).arg("--cert").arg(&readers[reader].crt);
        command.arg("--key").arg(&readers[reader].key).args(more);
        command.arg(format!("https://plug-000001.local:{}/events/drop", api.port()));
        Running::start(&mut command)
    };
    let quick = subscribe(1, &[]);
    let drops = |reader: &Running| reader.stdout().matches("event: drop").count();
    until("the quick reader hears", || (drops(&quick) > 20).then_some(()));
    let before = memory(product.id(), "VmRSS");
    let slow: Vec<_> = (0..SLOW).map(|_| subscribe(0, &["--limit-rate", "1"])).collect();
    until("the slow readers are there", || (connections(api) > SLOW).then_some(()));

    until("the slow readers are dropped", || (connections(api) <= 1).then_some(()));
    let heard = drops(&quick);
    until("the quick reader still hears", || (drops(&quick) > heard + 100).then_some(()));
    assert_eq!(product.control("get", &["level"]).with_code(0).stdout.trim(), "7");
    let grown = memory(product.id(), "VmHWM").saturating_sub(before);
    assert!(grown < MOST_KIB, "the agent grew by {grown} KiB");
    drop(slow);
}
