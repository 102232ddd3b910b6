//! The whole matrix with real processes: who × what × in which state, over HTTPS and over MQTT, against tables that were written by
//! hand and not by the product.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use countersign_controller::Home as Household;
use countersign_crypto::certificate::{Certificate, CertificateChain, IdentityKind, IdentityName};
use countersign_crypto::issue::{Eku, Serial, Template, prepare, sign};
use countersign_crypto::keystore::{Keystore, exportable_key};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::seal::SealKey;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_model::time::{Timestamp, Validity};

use crate::devices::paired;
use crate::local_api::{Request, api, curl};
use crate::support::{Client, Device, Home, House, Identity, Paho, Session, VERSIONS, countersign};

/// A person's files.
pub(crate) fn person(home: &Household, folder: &Path, name: &str) -> Identity {
    let name = name.parse().unwrap();
    if !home.persons().contains(&name) {
        home.issue_person(name.clone()).unwrap();
    }
    home.export_person(&name, folder).unwrap();
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    Identity { key: file("key"), crt: file("crt") }
}

/// A key of a folder's keystore, and the certificate that it issues under.
struct Issuer {
    certificate: Certificate,
    key: KeyHandle,
}

impl Issuer {
    fn of(seal: &Path, keys: &Path, certificate: Certificate) -> Self {
        let keys = Keystore::open(keys, SealKey::load(seal).unwrap()).unwrap();
        let of_it = |label: &String| {
            keys.require(label).is_ok_and(|key| key.spki_der() == certificate.spki_der())
        };
        let label = keys.list().unwrap().into_iter().find(of_it).expect("the issuer's own key");
        let key = keys.require(&label).unwrap();
        Self { certificate, key }
    }

    /// Somebody whose certificate has run out.
    fn expired(&self, kind: IdentityKind, name: &str, folder: &Path) -> Identity {
        let (key, pem) = exportable_key(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
        let not_before = self.certificate.validity().not_before;
        let template = Template {
            common_name: name.to_owned(),
            identity: IdentityName::new(kind, name).unwrap(),
            dns: Vec::new(),
            ips: Vec::new(),
            eku: Eku { server: false, client: true },
            validity: Validity { not_before, not_after: Timestamp(not_before.0 + 1_000) },
            serial: Serial::random(&mut SystemRandom),
            spki_der: key.spki_der().to_vec(),
        };
        let prepared = prepare(&template, &self.certificate, self.key.algorithm()).unwrap();
        let leaf = sign(prepared, &self.key).unwrap();
        fs::create_dir_all(folder).unwrap();
        let file = |ending: &str| folder.join(format!("expired.{ending}"));
        pem.expose(|pem| fs::write(file("key"), pem)).unwrap();
        let chain = format!("{}{}", leaf.to_pem(), self.certificate.to_pem());
        fs::write(file("crt"), chain).unwrap();
        Identity { key: file("key"), crt: file("crt") }
    }
}

/// What a subject may do at the device, as a column of the tables; `None` is let in nowhere.
type Column = Option<usize>;
const OWNER: Column = Some(0);
const MEMBER: Column = Some(1);
const VIEWER: Column = Some(2);
/// Known to TLS, and nobody at the device.
const NOBODY: Column = Some(3);
const OUTSIDE: Column = None;

/// Everybody who tries, and what they are.
fn everybody(
    house: &House,
    device: &Device,
    home: &Home,
) -> Vec<(&'static str, Option<Identity>, Column)> {
    let folder = house.folder().join("people");
    let household = Household::open(&home.folder).unwrap();
    for (name, role) in [("max", "member"), ("vera", "viewer"), ("rex", "viewer")] {
        home.with("admit", device, &["--person", name, "--role", role]).with_code(0);
    }
    home.with("unshare", device, &["--person", "rex"]).with_code(0);
    let elsewhere = house.folder().join("elsewhere");
    let neighbour = Household::create(&elsewhere, "owner".parse().unwrap()).unwrap();
    let ours = |name: &str| Some(person(&household, &folder, name));
    let joined = |name: &str, role| {
        let theirs = crate::sharing::joined(house, home, device, name, role);
        (Household::open(&theirs.folder).unwrap(), theirs.folder.join("out"))
    };
    let (sam, out_of_sam) = joined("sam", "viewer");
    let (ann, out_of_ann) = joined("ann", "owner");
    let (kim, out_of_kim) = joined("kim", "member");
    home.with("unshare", device, &["--person", "kim"]).with_code(0);
    let anchor = household.anchor().clone();
    let issuer = Issuer::of(&home.folder.join("seal.key"), &home.folder.join("keys"), anchor);
    let expired = issuer.expired(IdentityKind::Person, "owner", &folder);
    vec![
        ("owner", ours("owner"), OWNER),
        ("member", ours("max"), MEMBER),
        ("viewer", ours("vera"), VIEWER),
        ("revoked", ours("rex"), NOBODY),
        ("owner who joined", Some(person(&ann, &out_of_ann, "ann")), OWNER),
        ("viewer who joined", Some(person(&sam, &out_of_sam, "sam")), VIEWER),
        ("the owner's name, by who joined", Some(person(&sam, &out_of_sam, "owner")), NOBODY),
        ("the name of who joined, by the home", ours("sam"), NOBODY),
        ("who joined and was unshared", Some(person(&kim, &out_of_kim, "kim")), OUTSIDE),
        ("expired", Some(expired), OUTSIDE),
        ("wrong home", Some(person(&neighbour, &elsewhere.join("out"), "owner")), OUTSIDE),
        ("service", Some(house.service("backend", &["publish things/+/actions/+"])), OUTSIDE),
        ("none", None, OUTSIDE),
    ]
}

/// Status for each column; whoever is outside never gets as far as a request. Written down here by hand: the rules of the product are
/// what it is held against.
const TABLE: &[(Request, [u16; 4])] = &[
    (("GET", "/", ""), [200, 200, 200, 403]),
    (("GET", "/.well-known/wot", ""), [200, 200, 200, 403]),
    (("GET", "/properties", ""), [200, 200, 200, 403]),
    (("GET", "/properties/power", ""), [200, 200, 200, 403]),
    (("GET", "/properties/energy", ""), [200, 200, 200, 403]),
    (("GET", "/properties/relay", ""), [200, 200, 200, 403]),
    (("GET", "/properties/maxPower", ""), [200, 200, 403, 403]),
    (("GET", "/properties/access", ""), [200, 403, 403, 403]),
    (("GET", "/properties/history", ""), [200, 403, 403, 403]),
    (("GET", "/properties/networkCredentials", ""), [403, 403, 403, 403]),
    (("PUT", "/properties/relay", "true"), [204, 204, 403, 403]),
    (("PUT", "/properties/relay", "\"on\""), [400, 400, 403, 403]),
    (("PUT", "/properties/power", "1"), [403, 403, 403, 403]),
    (("PUT", "/properties/maxPower", "3000"), [204, 403, 403, 403]),
    (("PUT", "/properties/access", "[]"), [400, 403, 403, 403]),
    (("PUT", "/properties/history", "{}"), [403, 403, 403, 403]),
    (
        ("PUT", "/properties/networkCredentials", r#"{"ssid":"home","key":"k"}"#),
        [204, 403, 403, 403],
    ),
    (("PUT", "/properties/networkCredentials", r#"{"ssid":"home"}"#), [400, 403, 403, 403]),
    (("POST", "/actions/invite", "{}"), [400, 403, 403, 403]),
    (("POST", "/actions/toggle", ""), [200, 200, 403, 403]),
    (("POST", "/actions/resetEnergy", ""), [200, 403, 403, 403]),
    (("GET", "/access/vera", ""), [200, 403, 403, 403]),
    (("PUT", "/access/vera", r#"{"role":"viewer"}"#), [204, 403, 403, 403]),
    (("DELETE", "/access/nobody", ""), [204, 403, 403, 403]),
    (("GET", "/properties/nothing", ""), [403, 403, 403, 403]),
    (("PUT", "/properties/nothing", "1"), [403, 403, 403, 403]),
    (("POST", "/actions/nothing", ""), [403, 403, 403, 403]),
    (("GET", "/events/nothing", ""), [403, 403, 403, 403]),
    (("GET", "/nothing/at/all", ""), [403, 403, 403, 403]),
    (("GET", "/../etc/passwd", ""), [403, 403, 403, 403]),
    (("PATCH", "/properties/relay", "true"), [403, 403, 403, 403]),
];

//= specs/en-303-645.md#5.5-4
//= type=test
//# Authorisation SHOULD grant what a subject's rights cover and deny the rest.
//= specs/house.md#house-gate
//= type=test
//# A refusal of an unknown name, of a forbidden one and of the wrong state MUST be the same bytes after the same work.
#[test]
fn everybody_gets_what_is_theirs_and_one_refusal_byte_for_byte() {
    let (house, mut device, home) = paired();
    let (api, roots) = (api(&mut device), house.roots());
    let people = everybody(&house, &device, &home);
    let requests: Vec<Request> = TABLE.iter().map(|(request, _)| *request).collect();
    let mut refusals = [BTreeSet::new(), BTreeSet::new()];
    let mut seen = 0;
    for (http, refusals) in ["--http1.1", "--http2"].into_iter().zip(&mut refusals) {
        for (who, identity, column) in &people {
            let answers = curl(&roots, api, identity.as_ref(), http, &requests);
            for ((request, expected), answer) in TABLE.iter().zip(&answers) {
                let expected = column.map_or(0, |column| expected[column]);
                assert_eq!(answer.status, expected, "{http} {who}: {request:?}: {answer:?}");
                if answer.status == 403 {
                    refusals.insert(answer.whole.clone());
                }
                if answer.status != 0 {
                    assert_eq!(answer.version, if http == "--http2" { "2" } else { "1.1" });
                }
                seen += 1;
            }
        }
    }
    assert!(refusals.iter().all(|one| one.len() == 1), "one refusal for all: {refusals:?}");
    println!("{seen} cells of the matrix, initialised");
    // After a reset nobody is served, at the API's old port and at the pairing interface: not even who owned it.
    home.with("invoke", &device, &["reset"]).with_code(0);
    let pairing = device.pairing().parse().unwrap();
    nobody_is_served(&roots, &[api, pairing], &people, &requests);
    // Nor in the next home, whose owner has the same name.
    let next = Home::new(&house, "next");
    let label = device.label.clone();
    next.pair(&house, &mut device, &["--label", &label]).with_code(0);
    let api = crate::local_api::api(&mut device);
    nobody_is_served(&roots, &[api], &people, &requests);
}

//= specs/en-303-645.md#5.5-4
//= type=test
//# In the initialised state, functionality behind a network interface SHOULD be reached only after authentication on that interface.
#[test]
fn before_it_belongs_to_a_home_nobody_is_served() {
    let house = House::new();
    let mut device = Device::provision(&house, "plug-000001");
    device.start();
    let pairing: SocketAddr = device.pairing().parse().unwrap();
    // A home that is made before: the one that will own the device has its people already.
    let home = Home::new(&house, "home");
    let household = Household::create(&home.folder, "owner".parse().unwrap()).unwrap();
    let folder = house.folder().join("people");
    let ours = |name: &str| Some(person(&household, &folder, name));
    let service = Some(house.service("backend", &["publish things/+/actions/+"]));
    let people: Vec<(&str, Option<Identity>, Column)> = vec![
        ("owner to be", ours("owner"), OUTSIDE),
        ("member to be", ours("max"), OUTSIDE),
        ("service", service, OUTSIDE),
        ("another device", Some(house.device("plug-000002")), OUTSIDE),
        ("none", None, OUTSIDE),
    ];
    let requests: Vec<Request> = TABLE.iter().map(|(request, _)| *request).collect();
    nobody_is_served(&house.roots(), &[pairing], &people, &requests);
    // Factory-default, once the window is over: nobody listens any more.
    let mut late = Device::provision(&house, "plug-000003");
    late.configure("[pairing]\nlisten = \"127.0.0.1:0\"\nwindow_secs = 15\n");
    late.start();
    let closed: SocketAddr = late.pairing().parse().unwrap();
    late.status_where("its window is over", |status| status["state"] == "factory-default");
    nobody_is_served(&house.roots(), &[closed], &people, &requests);
    let label = device.label.clone();
    home.pair(&house, &mut device, &["--label", &label]).with_code(0);
    home.with("get", &device, &["power"]).with_code(0);
}

/// Every cell, each on both versions of HTTP.
fn nobody_is_served(
    roots: &Path,
    places: &[SocketAddr],
    people: &[(&str, Option<Identity>, Column)],
    requests: &[Request],
) {
    let mut seen = 0;
    for place in places {
        for http in ["--http1.1", "--http2"] {
            for (who, identity, _) in people {
                let answers = curl(roots, *place, identity.as_ref(), http, requests);
                for (request, answer) in requests.iter().zip(&answers) {
                    assert_eq!(answer.status, 0, "{place} {http} {who}: {request:?}: {answer:?}");
                    seen += 1;
                }
            }
        }
    }
    println!("{seen} cells of the matrix, not served");
}

/// A command's topic below the thing, its payload, and what the device answers to a service that was granted the topic: a
/// service has a member's rights at most, whatever it was granted.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("actions/toggle", "", "done"),
    ("properties/relay/set", "true", "done"),
    ("properties/relay/set", "\"on\"", "refused"),
    ("properties/power/set", "1", "refused"),
    ("properties/energy/set", "1", "refused"),
    ("properties/maxPower/set", "3000", "refused"),
    ("properties/access/set", r#"[{"person":"eve","role":"owner"}]"#, "refused"),
    ("properties/history/set", "{}", "refused"),
    ("properties/networkCredentials/set", r#"{"ssid":"eve","key":"k"}"#, "refused"),
    ("actions/resetEnergy", "", "refused"),
    ("actions/invite", "{}", "refused"),
    ("actions/reset", "", "refused"),
    ("actions/nothing", "", "refused"),
    ("properties/nothing/set", "1", "refused"),
];

/// The receipts' topics, and every way to command.
const EVERYTHING: [&str; 3] = [
    "subscribe things/+/actions/+/receipt",
    "publish things/+/actions/+",
    "publish things/+/properties/+/set",
];

//= specs/house.md#house-mqtt
//= type=test
//# A service MUST be held to its grants, filter by filter.
//= specs/house.md#house-mqtt
//= type=test
//# A device MUST publish and subscribe only beneath its own topics.
#[test]
fn the_same_over_mqtt_for_services_and_foreign_devices() {
    let (house, mut device, home) = paired();
    let granted = house.service("backend", &EVERYTHING);
    let listening = house.service("listener", &EVERYTHING[..1]);
    let elsewhere = house.service(
        "elsewhere",
        &["publish things/plug-000009/actions/+", "publish things/plug-000009/properties/+/set"],
    );
    let foreign = house.device("plug-000002");
    let folder = house.folder().join("expired-service");
    let data = house.data();
    let ca =
        CertificateChain::from_pem(&fs::read(data.join("authority/ca/service-ca.crt")).unwrap());
    let ca = ca.unwrap().leaf().clone();
    let issuer = Issuer::of(&data.join("seal.key"), &data.join("authority/keys"), ca);
    let expired = issuer.expired(IdentityKind::Service, "backend", &folder);

    for version in VERSIONS {
        let session = Session { version, client_id: "", clean: true };
        let (mut witness, _) = Paho::connect(&house, &listening, session);
        witness.subscribe("things/+/actions/+/receipt", 1);
        let mut refusals = BTreeSet::new();
        let (mut backend, _) = Paho::connect(&house, &granted, session);
        for (topic, payload, expected) in COMMANDS {
            backend.publish(&format!("things/plug-000001/{topic}"), payload, 1);
            let (_, receipt) = witness.message();
            let receipt: serde_json::Value = serde_json::from_str(&receipt).unwrap();
            assert_eq!(receipt["outcome"], *expected, "{version:?} {topic} {payload}: {receipt}");
            if *expected == "refused" && *payload != "\"on\"" {
                refusals.insert(receipt["detail"].to_string());
            }
        }
        assert_eq!(refusals.len(), 1, "one refusal for all: {refusals:?}");

        // Nothing of this reaches the device: the next receipt is that of the last command, from who may.
        for (who, identity) in
            [("not granted", &listening), ("granted elsewhere", &elsewhere), ("device", &foreign)]
        {
            for (topic, payload, _) in COMMANDS {
                let topic = format!("things/plug-000001/{topic}");
                Client::new(&house, identity, version).try_publish(1, &topic, payload);
            }
            backend.publish("things/plug-000001/actions/last", "", 1);
            let (topic, _) = witness.message();
            assert_eq!(topic, "things/plug-000001/actions/last/receipt", "{version:?} {who}");
        }
        // Who has run out does not get in at all.
        Client::new(&house, &expired, version).is_refused();
    }
    countersign(house.command(&["revoke"], &["--profile", "service", "--name", "backend"]))
        .with_code(0);
    for version in VERSIONS {
        Client::new(&house, &granted, version).comes_to_be_refused();
    }
    // The device did what it was told by who might, and nothing else.
    let history = home.with("history", &device, &[]).with_code(0);
    assert_eq!(history.stdout.lines().count(), 2, "only the pairing: {history}");
    assert!(device.status_where("it is there", |_| true)["api"].is_string());
}
