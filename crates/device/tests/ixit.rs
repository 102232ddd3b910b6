//! The declaration comes out of the device and says what runs.
#![allow(clippy::unwrap_used)]

mod support;

use countersign_device::ixit::{Maker, declare};
use countersign_model::ixit::{Access, Declaration, Operation, State};
use support::client::{ask, pair};
use support::maker::Ca;
use support::{World, code};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_declared_is_what_runs() {
    let world = World::new([127, 64, 0, 1]).await;
    let device = world.start();
    let home = Ca::home("home");
    let pairing = device.pairing().await;
    pair(pairing, &world.maker.root, code(), &home, None).await.unwrap();
    let api = device.api().await;
    let maker = Maker { manufacturer: "Example Works".to_owned(), ..Maker::default() };
    // The device runs meanwhile: its folder is only read.
    let declaration = declare(&world.config, &maker).unwrap();
    let text = declaration.to_json();
    assert_eq!(Declaration::from_json(&text).unwrap(), declaration);
    assert_eq!(declaration.dut.state, State::Initialised);
    let ports: Vec<_> = declaration.listeners.iter().map(|l| (l.port, l.states[0])).collect();
    assert_eq!(ports, [(pairing.port(), State::Pairing), (api.port(), State::Initialised)]);
    assert_eq!(declaration.sec_com_mech.len(), 4);
    let details = &declaration.sec_com_mech[1].cryptographic_details.typed[0];
    assert!(details.client_certificate && !details.groups.is_empty());
    // Every declared operation is there for the owner, and for nobody without a certificate.
    let ada = home.person("ada", None);
    for row in &declaration.affordances {
        let (method, root) = (row.method.as_str(), &world.maker.root);
        let stranger = ask(api, root, None, method, &row.path, b"").await;
        assert_eq!(stranger, None, "{method} {}", row.path);
        let read = row.operation == Operation::ReadProperty;
        assert!(row.access != Access::Nosec);
        let sample = row.sample.as_ref().map(ToString::to_string).unwrap_or_default();
        if read || row.sample.is_some() {
            let answer = ask(api, root, Some(&ada), method, &row.path, sample.as_bytes()).await;
            let status = answer.unwrap().0;
            assert!(matches!(status, 200 | 204), "{method} {}: {status}", row.path);
        }
    }
    device.stop().await.unwrap();
}
