//! Registered names, as the policy writes them, and their code points in the IANA TLS registries. A table for
//! declaring, not for choosing: what is offered is the policy's alone.

use countersign_model::ixit::CodePoint;
use std::collections::BTreeSet;

const KNOWN: &[(&str, u16)] = &[
    ("TLS 1.3", 0x0304),
    ("TLS_AES_128_GCM_SHA256", 0x1301),
    ("TLS_AES_256_GCM_SHA384", 0x1302),
    ("TLS_CHACHA20_POLY1305_SHA256", 0x1303),
    ("secp256r1", 0x0017),
    ("secp384r1", 0x0018),
    ("x25519", 0x001d),
    ("MLKEM1024", 0x0202),
    ("SecP256r1MLKEM768", 0x11eb),
    ("X25519MLKEM768", 0x11ec),
    ("ecdsa_secp256r1_sha256", 0x0403),
    ("ecdsa_secp384r1_sha384", 0x0503),
];

/// The code points of `names`.
pub(super) fn points<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<CodePoint> {
    let code =
        |name| KNOWN.iter().find(|(known, _)| *known == name).map(|(_, code)| CodePoint(*code));
    names.into_iter().filter_map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_crypto::policy::Policy;

    #[test]
    fn every_name_of_the_built_in_policy_has_its_code_point() {
        for (use_, tls) in Policy::built_in().uses {
            for names in [tls.versions, tls.suites, tls.groups, tls.signatures] {
                let found = points(names.iter().map(|item| item.name.as_str()));
                assert_eq!(found.len(), names.len(), "{use_:?}: {names:?}");
            }
        }
    }
}
