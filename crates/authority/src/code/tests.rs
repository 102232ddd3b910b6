//! Codes for one enrolment, limits, and the factory identity where the operational one has expired.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_crypto::csr;
use countersign_crypto::signature::{KeyHandle, SignatureAlgorithm};
use countersign_crypto::tls::TlsIdentity;

use crate::Authority;
use crate::registration::Reason;
use crate::revocation::Target;
use crate::subject::Subject;
use crate::testing::client::{Answer, identity, request};
use crate::testing::{TestClock, open_at, ready};

const ENROLL: &str = "POST /.well-known/est/simpleenroll HTTP/1.1";
const QUARTER: Duration = Duration::from_secs(900);

async fn ask(
    authority: &Authority,
    client: Option<&TlsIdentity>,
    head: &str,
    body: &[u8],
) -> Answer {
    let anchors = authority.est_anchors().unwrap();
    request(authority, authority.est_router(), anchors, client, head, body).await.unwrap()
}

async fn with_code(authority: &Authority, name: &str, code: &str, body: &[u8]) -> Answer {
    let basic = BASE64.encode(format!("{name}:{code}"));
    ask(authority, None, &format!("{ENROLL}\r\nAuthorization: Basic {basic}"), body).await
}

fn asks(name: &str) -> Vec<u8> {
    let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    BASE64.encode(csr::request(&key, name).unwrap()).into_bytes()
}

async fn code(authority: &Authority, subject: &str) -> String {
    let subject: Subject = subject.parse().unwrap();
    authority.new_code(subject, &[], QUARTER).await.unwrap().code
}

//= specs/house.md#house-est
//= type=test
//# An enrolment code MUST admit one request only, and a bounded number of guesses.
#[tokio::test]
async fn a_code_admits_one_request_which_may_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let code = code(&authority, "thing:plug-1").await;
    let body = asks("plug-1");
    let first = with_code(&authority, "plug-1", &code, &body).await;
    assert_eq!(first.status, 200, "{first:?}");
    // The answer was lost: the same request, typed in capitals this time.
    let again = with_code(&authority, "plug-1", &code.to_uppercase(), &body).await;
    assert_eq!((again.status, again.body), (200, first.body));
    // Another key with the same code: no.
    let other = with_code(&authority, "plug-1", &code, &asks("plug-1")).await;
    assert_eq!(other.status, 401, "{other:?}");
    // What the ledger has of it tells nobody the code.
    let ledger = std::fs::read_to_string(authority.layout().ledger()).unwrap();
    assert!(ledger.contains("enrolment-code") && !ledger.contains(&code));
}

#[tokio::test]
async fn a_code_is_for_its_name_its_time_and_a_few_guesses() {
    let folder = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(TestClock::default());
    drop(ready(folder.path()).await);
    let authority = open_at(folder.path(), clock.clone()).await;
    let mine = code(&authority, "thing:plug-1").await;
    let theirs = code(&authority, "thing:plug-2").await;
    let stranger = with_code(&authority, "plug-1", &theirs, &asks("plug-1")).await;
    assert_eq!(stranger.status, 401);
    let misnamed = with_code(&authority, "plug-2", &theirs, &asks("plug-1")).await;
    assert_eq!(misnamed.status, 403, "the request names another");
    // A request that proves nothing uses nothing up.
    assert_eq!(with_code(&authority, "plug-2", &theirs, b"AAAA").await.status, 400);
    assert_eq!(with_code(&authority, "plug-2", &theirs, &asks("plug-2")).await.status, 200);
    // One wrong code was counted above; four more, and the right one is void.
    for _ in 0..4 {
        let wrong =
            with_code(&authority, "plug-1", "00000-00000-00000-00000", &asks("plug-1")).await;
        assert_eq!(wrong.status, 401);
    }
    assert_eq!(with_code(&authority, "plug-1", &mine, &asks("plug-1")).await.status, 401, "void");
    // A new one, too late.
    let late = code(&authority, "thing:plug-1").await;
    clock.forward(QUARTER + Duration::from_secs(1));
    assert_eq!(
        with_code(&authority, "plug-1", &late, &asks("plug-1")).await.status,
        401,
        "too late"
    );
}

#[tokio::test]
async fn a_revoked_subject_gets_no_code_and_uses_none() {
    let folder = tempfile::tempdir().unwrap();
    let authority = ready(folder.path()).await;
    let first = code(&authority, "thing:plug-1").await;
    let second = code(&authority, "thing:plug-1").await;
    assert_eq!(with_code(&authority, "plug-1", &first, &asks("plug-1")).await.status, 200);
    let target: Target = "plug-1".parse().unwrap();
    authority.revoke(&target, Reason::KeyCompromise).await.unwrap();
    assert_eq!(with_code(&authority, "plug-1", &second, &asks("plug-1")).await.status, 403);
    assert!(authority.new_code("plug-1".parse().unwrap(), &[], QUARTER).await.is_err());
    let operator = authority.new_code("operator:eve".parse().unwrap(), &[], QUARTER).await;
    assert!(operator.is_err(), "operators do not enrol by a code");
}

#[tokio::test]
async fn an_expired_identity_is_renewed_on_proof_of_the_factory_one_unless_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(TestClock::default());
    drop(ready(folder.path()).await);
    let authority = open_at(folder.path(), clock.clone()).await;
    let key = KeyHandle::ephemeral(SignatureAlgorithm::EcdsaP256Sha256).unwrap();
    let made = authority.manufacture(&csr::request(&key, "plug-1").unwrap()).await.unwrap();
    let factory = identity(&made.chain, &key);
    assert_eq!(ask(&authority, Some(&factory), ENROLL, &asks("plug-1")).await.status, 200);
    // In a drawer for two months: the operational identity lived thirty days.
    clock.forward(Duration::from_secs(60 * 86_400));
    for operation in ["simpleenroll", "simplereenroll"] {
        let head = format!("POST /.well-known/est/{operation} HTTP/1.1");
        let answer = ask(&authority, Some(&factory), &head, &asks("plug-1")).await;
        assert_eq!(answer.status, 200, "{operation}: {answer:?}");
    }
    let target: Target = "plug-1".parse().unwrap();
    authority.revoke(&target, Reason::Suspended).await.unwrap();
    for operation in ["simpleenroll", "simplereenroll"] {
        let head = format!("POST /.well-known/est/{operation} HTTP/1.1");
        let answer = ask(&authority, Some(&factory), &head, &asks("plug-1")).await;
        assert_eq!(answer.status, 403, "{operation}: {answer:?}");
    }
}
