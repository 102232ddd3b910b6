//! What a cache in between may keep.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::enrol::{EnrolNames, EnrolProfile, EnrolRequest};
use crate::testing::{openssl, ready};

#[tokio::test]
async fn only_what_is_for_everybody_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let names = EnrolNames::One("plug-1".to_owned());
    let out = folder.path().join("out");
    let wanted = EnrolRequest { profile: EnrolProfile::Device, names, out, force: false };
    authority.enrol(&wanted, |_, _| {}).await.unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let request = path("request.der");
    let asked = |nonce: &str, issuer: &str| {
        let leaf = path("out/plug-1.crt");
        openssl(&["ocsp", nonce, "-issuer", issuer, "-cert", &leaf, "-reqout", &request]);
        std::fs::read(&request).unwrap()
    };
    let ca = path("authority/ca/ldevid-ca.crt");
    let (plain, nonce) = (asked("-no_nonce", &ca), asked("-nonce", &ca));
    // Nobody of ours: the answer bears no signature.
    let foreign = asked("-no_nonce", &path("out/plug-1.crt"));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let shared = Shared { authority: authority.clone(), places };
    for (der, kept) in [(plain, true), (nonce, false), (foreign, false), (vec![1], false)] {
        let got = gotten(State(shared.clone()), Path(BASE64.encode(&der))).await;
        let posted = posted(State(shared.clone()), Bytes::from(der)).await;
        let said = |response: &Response| {
            response.headers()[header::CACHE_CONTROL].to_str().unwrap().to_owned()
        };
        assert_eq!(said(&got).starts_with("max-age="), kept, "{}", said(&got));
        assert_eq!(said(&got) == "no-store", !kept, "{}", said(&got));
        assert_eq!(said(&posted), "no-store");
    }
}
