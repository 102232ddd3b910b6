//! A root that somebody has copied is withdrawn under a running platform: a device that is awake, one that sleeps through roll and
//! withdrawal, one in its box, and one that is made afterwards; and the gateway of whoever has the old key.

use std::time::Duration;

use countersign_crypto::certificate::{
    Certificate, CertificateChain, IdentityKind, IdentityName, certificates_from_pem,
};
use countersign_crypto::issue::{self, CaTemplate, Eku, Serial, Template};
use countersign_crypto::keystore::Keystore;
use countersign_crypto::policy::{CompiledPolicy, Use};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::seal::SealKey;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::{ClientRule, Clock as _, SystemClock, TlsIdentity, TlsServer};
use countersign_model::time::Validity;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::support::{Device, Finished, Home, House, countersign, s_client, until};

/// How long the device tries to reach somebody, at the most.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever copied the root's key before it was destroyed.
struct Thief {
    root: Certificate,
    key: KeyHandle,
}

impl Thief {
    fn of(house: &House) -> Self {
        let root = certificates_from_pem(&std::fs::read(house.roots()).unwrap()).unwrap().remove(0);
        let seal = SealKey::load(&house.data().join("seal.key")).unwrap();
        let keys = Keystore::open(&house.data().join("authority/keys"), seal).unwrap();
        Self { root, key: keys.require("root").unwrap() }
    }

    /// A gateway with the right name, below that root.
    fn gateway(&self) -> TlsIdentity {
        let fresh = || KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let (ca_key, key) = (fresh(), fresh());
        let validity = Validity { not_before: SystemClock.now(), not_after: Validity::FOREVER };
        let template = CaTemplate {
            common_name: "Service CA".to_owned(),
            organisation: self.root.subject_organisation().unwrap(),
            country: "DE".to_owned(),
            validity,
            serial: Serial::random(&mut SystemRandom),
        };
        let ca = issue::ca_signed_by(&template, ca_key.spki_der(), &self.root, &self.key).unwrap();
        let template = Template {
            common_name: "gateway".to_owned(),
            identity: IdentityName::new(IdentityKind::Server, "gateway").unwrap(),
            dns: vec!["localhost".to_owned()],
            ips: Vec::new(),
            eku: Eku { server: true, client: false },
            validity,
            serial: Serial::random(&mut SystemRandom),
            spki_der: key.spki_der().to_vec(),
        };
        let leaf = issue::prepare(&template, &ca, ca_key.algorithm()).unwrap();
        let chain = vec![issue::sign(leaf, &ca_key).unwrap(), ca];
        TlsIdentity::new(CertificateChain::new(chain).unwrap(), key).unwrap()
    }

    /// Sits where the house's gateway was, and tells whether the next one who comes believes that it is the gateway.
    fn deceives_at(&self, address: &str) -> bool {
        let (policy, identity) = (CompiledPolicy::built_in(), self.gateway());
        let rule = ClientRule::Anonymous;
        let server = TlsServer::new(&policy, Use::DeviceUplink, &identity, &rule, "mqtt").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            let came = tokio::time::timeout(PATIENCE, listener.accept()).await;
            let (stream, _) = came.expect("the device tries to connect").unwrap();
            let Ok(mut channel) = server.accept(stream).await else { return false };
            // Whoever believes it speaks: MQTT's CONNECT.
            let mut first = [0];
            channel.read_exact(&mut first).await.is_ok() && first == [0x10]
        })
    }
}

fn rotate(house: &House, arguments: &[&str]) -> Finished {
    countersign(house.command(&["rotate"], arguments))
}

/// `authority rotate root ARGUMENTS…`.
fn root(house: &House, arguments: &[&str]) -> Finished {
    let mut all = house.command(&["rotate", "root"], &[]);
    all.extend(arguments.iter().map(Into::into));
    countersign(all)
}

fn let_go(house: &House) -> Value {
    let status = countersign(house.command(&["rotate", "status"], &["--json"])).with_code(0);
    serde_json::from_str::<Value>(&status.stdout).unwrap()["let_go"].clone()
}

/// Pairs by the label, with that file of roots.
fn pair(home: &Home, house: &House, device: &mut Device, roots: &str) -> Finished {
    let (address, label) = (device.pairing(), device.label.clone());
    let roots = house.data().join(roots);
    let place = ["--device", &address, "--roots", roots.to_str().unwrap(), "--label", &label];
    home.control("pair", &[&place[..], &["--mqtt", &house.mqtt, "--est", &house.est]].concat())
}

//= specs/house.md#house-anchors
//= type=test
//# A device MUST let go of a root only by the word of one that it trusts and that is shown to stand after it.
//= specs/house.md#house-anchors
//= type=test
//# A crash at any point of a withdrawal MUST leave every device able to connect.
//= specs/house.md#house-anchors
//= type=test
//# A new device MUST be given no withdrawn root but the one that its own identity hangs below.
//= specs/house.md#house-anchors
//= type=test
//# A device MUST show its owner a chain that leads to the root which its label names.
#[test]
fn a_copied_root_deceives_nobody_who_has_let_go_of_it() {
    let mut house = House::new();
    let thief = Thief::of(&house);
    let old_roots = house.folder().join("old-roots.pem");
    std::fs::copy(house.roots(), &old_roots).unwrap();
    let home = Home::new(&house, "home");
    let mut awake = Device::provision(&house, "plug-000001");
    let mut sleeper = Device::provision(&house, "plug-000002");
    let mut boxed = Device::provision(&house, "plug-000003");
    for device in [&mut awake, &mut sleeper] {
        device.start();
        pair(&home, &house, device, "roots.pem").with_code(0);
        device.connected();
    }
    sleeper.kill();

    // 1. Nobody is lost by it: what is in the way is said, with the numbers.
    root(&house, &["--step", "withdraw"]).with_code(0).saying("withdrawn  nothing");
    rotate(&house, &["--ca", "service", "--step", "withdraw"]).with_code(2).saying("only roots");
    root(&house, &["--without-acknowledgement", "1"]).with_code(0);
    root(&house, &["--step", "withdraw"]).with_code(1).saying("not withdrawn: idevid-ca");
    for ca in ["idevid", "ldevid", "service"] {
        rotate(&house, &["--ca", ca]).with_code(0);
    }
    root(&house, &["--step", "withdraw"])
        .with_code(1)
        .saying("plug-000002")
        .saying("--without-acknowledgement 1");
    assert_eq!(let_go(&house), Value::Null);

    // 2. Whoever has the old key deceives the device that has both roots.
    awake.connected();
    house.kill();
    assert!(thief.deceives_at(&house.mqtt), "it trusts the old root");
    house.start();
    awake.connected();

    // 3. Killed again and again, then not: the device lets go, while its connection stays.
    for millis in [5, 40, 200] {
        let mut all = house.command(&["rotate", "root"], &[]);
        all.extend(["--step", "withdraw", "--without-acknowledgement", "1"].map(Into::into));
        let running = crate::support::Running::start(&mut crate::support::program(&all));
        let _ = running.end_within(Duration::from_millis(millis));
    }
    root(&house, &["--step", "withdraw", "--without-acknowledgement", "1"]).with_code(0);
    let expected = json!({"acknowledged": 1, "missing": ["plug-000002"], "asleep": 0});
    until("the device has let go", || {
        (let_go(&house) == json!({"before": "root-2", "devices": expected})).then_some(())
    });
    root(&house, &["--step", "withdraw"]).with_code(0).saying("withdrawn  nothing");
    let sessions = countersign([
        "gateway".as_ref(),
        "sessions".as_ref(),
        "--json".as_ref(),
        "--data".as_ref(),
        house.data().as_os_str(),
    ])
    .with_code(0);
    let sessions: Value = serde_json::from_str(&sessions.stdout).unwrap();
    let seen = sessions["sessions"].as_array().unwrap();
    let seen = seen.iter().find(|one| one["subject"] == "thing:plug-000001").unwrap();
    assert_eq!(seen["root_floor"], 1, "{seen}");

    // 4. From its next connection on nobody deceives it, and no restart changes that.
    house.kill();
    assert!(!thief.deceives_at(&house.mqtt), "it has let go of the old root");
    awake.kill();
    awake.start();
    assert!(!thief.deceives_at(&house.mqtt), "after a restart");
    house.start();
    awake.connected();

    // 5. The one that slept through both comes by the cross-certificates, and lets go at once.
    sleeper.start();
    sleeper.connected();
    until("the second device has let go", || {
        (let_go(&house)["devices"]["acknowledged"] == 2).then_some(())
    });

    // 6. The one from the box: its label names the old root, which controllers are given apart.
    boxed.start();
    pair(&home, &house, &mut boxed, "roots.pem").with_code(1).saying("device-roots.pem");
    pair(&home, &house, &mut boxed, "device-roots.pem").with_code(0);
    boxed.connected();
    until("the third device has let go", || {
        (let_go(&house)["devices"]["acknowledged"] == 3).then_some(())
    });

    // Its operational identity is below the new root, its label names the old one: its owner reaches it at home as before.
    home.with("get", &boxed, &["power"]).with_code(0);

    // 7. One that is made now never trusted it.
    let mut new = Device::provision(&house, "plug-000004");
    let given = std::fs::read(new.data().join("factory/roots.pem")).unwrap();
    let given = certificates_from_pem(&given).unwrap();
    assert_eq!(given.len(), 1);
    assert_ne!(given[0], thief.root);
    new.start();
    pair(&home, &house, &mut new, "roots.pem").with_code(0);
    new.connected();
    until("the new device says the same", || {
        (let_go(&house)["devices"]["acknowledged"] == 4).then_some(())
    });

    // What the others need is still shown and signed; the old key goes as ever.
    let mut command = s_client(&house.mqtt, &old_roots, None, &[]);
    let said = command.stdin(std::process::Stdio::null()).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).contains("Verify return code: 0"));
    root(&house, &["--step", "retire"]).with_code(0).saying("retired");
    house.kill();
    house.start();
    for device in [&mut awake, &mut sleeper, &mut boxed, &mut new] {
        device.connected();
    }
    countersign(house.command(&["ledger", "verify"], &[])).with_code(0);
    house.is_well();
}
