//! Who does not get through the door: no certificate, a foreign one, old TLS, another protocol.

use crate::support::{Authority, Client, House, Running, VERSIONS, Version, s_client};

#[test]
fn no_certificate_and_foreign_certificates_are_refused() {
    let house = House::new();
    let device = house.device("plug-000001");
    let elsewhere = Authority::new();
    let foreign = elsewhere.device("plug-000001");
    for version in VERSIONS {
        Client::without_certificate(&house, version).is_refused();
        Client::new(&house, &foreign, version).is_refused();
        // And the client finds out that this is not its own house.
        Client::new(&house, &device, version).trusting(&elsewhere).is_refused();
        Client::new(&house, &device, version).publish(
            1,
            "things/plug-000001/properties/power",
            "1",
        );
    }
}

#[test]
fn a_certificate_of_another_kind_opens_no_session() {
    let house = House::new();
    let operators = house.data().join("operators");
    let admin = crate::support::Identity {
        key: operators.join("admin.key"),
        crt: operators.join("admin.crt"),
    };
    assert!(
        admin.key.exists() && admin.crt.exists(),
        "the ceremony makes the operator's credentials"
    );
    Client::new(&house, &admin, Version::V5).is_refused();
}

//= specs/house.md#house-channel
//= type=test
//# TLS below 1.3 MUST be refused by the default policy.
#[test]
fn tls_1_2_is_refused_everywhere() {
    let house = House::new();
    let device = house.device("plug-000001");
    for address in [&house.mqtt, &house.est, &house.admin] {
        for who in [None, Some(&device)] {
            let mut command = s_client(address, &house.roots(), who, &["-tls1_2"]);
            let ended = Running::start(&mut command).finish();
            assert_ne!(ended.code, Some(0), "{ended}");
            ended.saying("alert protocol version");
        }
    }
}

//= specs/house.md#house-channel
//= type=test
//# A peer that names a wrong application protocol MUST be refused.
#[test]
fn another_application_protocol_is_refused() {
    let house = House::new();
    let device = house.device("plug-000001");
    for (address, right, wrong) in [
        (&house.mqtt, "mqtt", "http/1.1"),
        (&house.est, "http/1.1", "mqtt"),
        (&house.est, "http/1.1", "h2"),
    ] {
        let mut command = s_client(address, &house.roots(), Some(&device), &["-alpn", wrong]);
        let ended = Running::start(&mut command).finish();
        assert_ne!(ended.code, Some(0), "{ended}");
        ended.saying("no application protocol");

        let mut command = s_client(address, &house.roots(), Some(&device), &["-alpn", right]);
        Running::start(&mut command)
            .finish()
            .with_code(0)
            .saying(&format!("ALPN protocol: {right}"));
    }
}

#[test]
fn the_default_policy_serves_debians_openssl_with_tls_1_3() {
    let house = House::new();
    let device = house.device("plug-000001");
    for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"] {
        let more = ["-tls1_3", "-groups", "P-256", "-ciphersuites", suite];
        let mut command = s_client(&house.mqtt, &house.roots(), Some(&device), &more);
        Running::start(&mut command).finish().with_code(0).saying("TLSv1.3").saying(suite);
    }
    for more in [["-groups", "X448"], ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"]] {
        let mut command = s_client(&house.mqtt, &house.roots(), Some(&device), &more);
        let ended = Running::start(&mut command).finish();
        assert_ne!(ended.code, Some(0), "{more:?} is not in the policy: {ended}");
    }
}
