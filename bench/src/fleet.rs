//! A fleet out of a formula: the same for the same number, with some of everything.

use countersign_gateway::store::fleet::Sighting;
use countersign_model::time::Timestamp;
use countersign_protocol::fleet::Certificate;

/// Milliseconds of a day.
pub const DAY: u64 = 86_400_000;

/// What OpenSSL 3.0 offers by default.
const CLASSICAL: &str = "1302,1303,1301,c02c,c030,009f,cca9,cca8,ccaa,c02b,c02f,009e,c024,c028,006b,c023,c027,0067,c00a,\
     c014,0039,c009,c013,0033,009d,009c,003d,003c,0035,002f,00ff;001d,0017,001e,0019,0018,0100,0101,0102,0103,0104;\
     0403,0503,0603,0807,0808,0809,080a,080b,0804,0805,0806,0401,0501,0601,0303,0301,0302,0402,0502,0602;";
/// What a device of ours offers under the built-in policy.
const HYBRID: &str = "1302,1301;11eb,11ec,0017;0403,0503;alpn";

/// How many of each a policy makes that has hybrid groups and signatures on P-256 only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// Offer no hybrid group.
    pub stranded: usize,
    /// Have a key on P-384.
    pub must_reissue: usize,
    /// Were seen longer ago than 30 days.
    pub not_seen: usize,
    /// All others.
    pub unaffected: usize,
    /// Known by handshakes only.
    pub by_negotiation_only: usize,
}

/// `plug-000000` and so on.
#[must_use]
pub fn name(index: usize) -> String {
    format!("plug-{index:06}")
}

/// One sighting of each of `count` devices, and what is to be said of them.
#[must_use]
pub fn sightings(count: usize, now: Timestamp) -> (Vec<Sighting>, Expected) {
    let mut expected = Expected::default();
    let sightings = (0..count)
        .map(|index| {
            let (kind, long_ago) = (index % 10, index % 17 == 0);
            let classical = kind >= 7;
            let larger_key = kind == 3;
            let offered = (kind != 9).then_some(if classical { CLASSICAL } else { HYBRID });
            expected.by_negotiation_only += usize::from(kind == 9);
            *match (long_ago, classical, larger_key) {
                (true, ..) => &mut expected.not_seen,
                (_, true, _) => &mut expected.stranded,
                (_, _, true) => &mut expected.must_reissue,
                _ => &mut expected.unaffected,
            } += 1;
            let days_ago = if long_ago { 60 } else { (index % 20) as u64 };
            let key = if larger_key { "ecdsa_secp384r1_sha384" } else { "ecdsa_secp256r1_sha256" };
            Sighting {
                subject: format!("thing:{}", name(index)),
                version: "TLS 1.3".to_owned(),
                suite: "TLS_AES_256_GCM_SHA384".to_owned(),
                group: if classical { "x25519" } else { "SecP256r1MLKEM768" }.to_owned(),
                offered: offered.map(|text| text.parse().expect("a stored form")),
                certificate: Certificate {
                    serial: format!("{index:032x}"),
                    key: Some(key.to_owned()),
                    signature: Some("ecdsa_secp256r1_sha256".to_owned()),
                    not_after: Timestamp(now.0 + 90 * DAY),
                },
                at: Timestamp(now.0 - days_ago * DAY),
            }
        })
        .collect();
    (sightings, expected)
}
