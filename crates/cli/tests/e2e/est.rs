//! Enrolment over secure transport as curl and OpenSSL see it.

use std::fs;

use crate::support::{
    Answer, Authority, Client, House, Identity, Key, VERSIONS, certificates_in, countersign, curl,
    openssl,
};

const REENROL: &str = "simplereenroll";

/// A new key and the certificate that EST gave for it, as files.
pub(crate) fn renewed(house: &House, key: &Key, answer: &Answer) -> Identity {
    let printed = certificates_in(&answer.body, house.folder());
    let start = printed.find("-----BEGIN CERTIFICATE-----").expect("a certificate");
    let crt = key.file.with_extension("crt");
    fs::write(&crt, &printed[start..]).unwrap();
    Identity { key: key.file.clone(), crt }
}

fn power(name: &str) -> String {
    format!("things/{name}/properties/power")
}

//= specs/house.md#house-est
//= type=test
//# The distribution of authority certificates MUST work without a client certificate.
//= specs/house.md#house-est
//= type=test
//# An EST reply MUST be base64 on one line with its length announced.
#[test]
fn anybody_gets_the_authorities_certificates() {
    let house = House::new();
    let answer = curl(&house, &house.est, None, "cacerts", None).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("application/pkcs7-mime"));
    assert_eq!(answer.header("content-transfer-encoding"), Some("base64"));
    assert_eq!(
        answer.header("transfer-encoding"),
        None,
        "chunked replies are not read by all clients"
    );
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    assert_eq!(answer.body.trim_end().lines().count(), 1, "one line");

    let printed = certificates_in(&answer.body, house.folder());
    let subjects: Vec<_> = printed.lines().filter(|line| line.starts_with("subject")).collect();
    assert_eq!(subjects.len(), 4, "the root and three issuing authorities: {subjects:?}");
    let root = fs::read_to_string(house.roots()).unwrap();
    let body = root.lines().nth(1).unwrap();
    assert!(printed.contains(body), "the root is among them");
}

//= specs/house.md#house-est
//= type=test
//# Enrolment MUST NOT work without a verified identity.
#[test]
fn nobody_enrols_without_an_identity() {
    let house = House::new();
    house.device("plug-000001");
    let elsewhere = Authority::new();
    let foreign = elsewhere.device("plug-000001");
    let request = Key::new(house.folder(), "new").request("plug-000001");
    for operation in ["simpleenroll", REENROL] {
        let answer = curl(&house, &house.est, None, operation, Some(&request)).unwrap();
        assert!(matches!(answer.status, 401 | 403), "{answer:?}");
        assert!(!answer.body.contains("MII"), "{answer:?}");

        // Another authority's certificate does not even finish the handshake.
        let ended =
            curl(&house, &house.est, Some(&foreign), operation, Some(&request)).unwrap_err();
        assert_ne!(ended.code, Some(0), "{ended}");
    }
}

#[test]
fn openssl_and_curl_renew_a_device() {
    let house = House::new();
    let device = house.device("plug-000001");
    let key = Key::new(house.folder(), "renewed");
    let request = key.request("plug-000001");

    let answer = curl(&house, &house.est, Some(&device), REENROL, Some(&request)).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let new = renewed(&house, &key, &answer);
    for version in VERSIONS {
        Client::new(&house, &new, version).publish(1, &power("plug-000001"), "1");
        Client::new(&house, &device, version).publish(1, &power("plug-000001"), "1");
    }

    // A reply that was lost is asked for again, and is the same.
    let again = curl(&house, &house.est, Some(&device), REENROL, Some(&request)).unwrap();
    assert_eq!(again.body, answer.body);

    // The new certificate renews in its turn.
    let third = Key::new(house.folder(), "third");
    let request = third.request("plug-000001");
    let answer = curl(&house, &house.est, Some(&new), REENROL, Some(&request)).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let third = renewed(&house, &third, &answer);
    let serial = |who: &Identity| {
        openssl(&["x509", "-noout", "-serial", "-in", who.crt.to_str().unwrap()], b"")
    };
    assert_ne!(serial(&third), serial(&new));
}

#[test]
fn a_service_renews_and_keeps_its_grants() {
    let house = House::new();
    let device = house.device("plug-000001");
    let service = house.service("backend", &["subscribe things/+/properties/#"]);
    let key = Key::new(house.folder(), "renewed");
    let answer =
        curl(&house, &house.est, Some(&service), REENROL, Some(&key.request("backend"))).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let new = renewed(&house, &key, &answer);
    for version in VERSIONS {
        let telemetry = Client::new(&house, &new, version).subscribe(1, "things/+/properties/#");
        Client::new(&house, &device, version).publish(1, &power("plug-000001"), "1");
        telemetry.receives(&power("plug-000001"), "1");
    }
}

//= specs/house.md#house-est
//= type=test
//# An enrolment request MUST be refused when it names another subject than the identity that asks.
#[test]
fn nobody_is_renewed_as_somebody_else() {
    let house = House::new();
    let device = house.device("plug-000001");
    house.device("plug-000002");
    let key = Key::new(house.folder(), "new");
    for other in ["plug-000002", "plug-000003"] {
        let answer =
            curl(&house, &house.est, Some(&device), REENROL, Some(&key.request(other))).unwrap();
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(!answer.body.contains("MII"), "{answer:?}");
    }
    // simpleenroll is for factory identities.
    let request = key.request("plug-000001");
    let answer = curl(&house, &house.est, Some(&device), "simpleenroll", Some(&request)).unwrap();
    assert_eq!(answer.status, 403, "{answer:?}");
}

//= specs/house.md#house-issuance
//= type=test
//# A public key that is known under another name MUST be refused.
#[test]
fn one_key_has_one_name() {
    let house = House::new();
    let [first, second] = ["plug-000001", "plug-000002"].map(|name| house.device(name));
    let request = Key::of(first.key.clone()).request("plug-000002");
    let answer = curl(&house, &house.est, Some(&second), REENROL, Some(&request)).unwrap();
    assert_eq!(answer.status, 403, "{answer:?}");
}

//= specs/house.md#house-est
//= type=test
//# An enrolment request MUST prove possession of the new key.
#[test]
fn a_request_that_proves_nothing_is_refused() {
    let house = House::new();
    let device = house.device("plug-000001");
    let request = Key::new(house.folder(), "new").request("plug-000001");
    // The last bytes of a request are those of its signature.
    let end = request.trim_end_matches('=').len() - 6;
    let mut forged = request.clone();
    forged.replace_range(end..=end, if &request[end..=end] == "A" { "B" } else { "A" });
    let answer = curl(&house, &house.est, Some(&device), REENROL, Some(&forged)).unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
}

#[test]
fn garbage_is_answered_as_such() {
    let mut house = House::new();
    let device = house.device("plug-000001");
    let half = Key::new(house.folder(), "new").request("plug-000001")[..200].to_owned();
    let certificate = fs::read_to_string(&device.crt).unwrap();
    for body in ["", "AAAA", "not base64 at all", "{\"json\":true}", "MII=", &half, &certificate] {
        let answer = curl(&house, &house.est, Some(&device), REENROL, Some(body)).unwrap();
        assert_eq!(answer.status, 400, "{body:?}: {answer:?}");
    }
    let long = "A".repeat(3 << 20);
    let answer = curl(&house, &house.est, Some(&device), REENROL, Some(&long));
    assert!(answer.is_err() || answer.is_ok_and(|answer| matches!(answer.status, 400 | 413)));
    let answer = curl(&house, &house.est, Some(&device), "serverkeygen", None).unwrap();
    assert_eq!(answer.status, 404);
    let answer = curl(&house, &house.est, Some(&device), REENROL, None).unwrap();
    assert_eq!(answer.status, 405);
    house.is_well();
}

#[test]
fn a_revoked_device_renews_nothing() {
    let house = House::new();
    let device = house.device("plug-000001");
    let request = Key::new(house.folder(), "new").request("plug-000001");
    let revoke = ["--profile", "device", "--name", "plug-000001"];
    countersign(house.command(&["revoke"], &revoke)).with_code(0);
    // The handshake itself is refused as soon as the registry knows.
    match curl(&house, &house.est, Some(&device), REENROL, Some(&request)) {
        Ok(answer) => assert!(matches!(answer.status, 401 | 403), "{answer:?}"),
        Err(ended) => assert_ne!(ended.code, Some(0), "{ended}"),
    }
}
