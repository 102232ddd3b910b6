//! The four operations. Each names who may ask, and lets registration and issuance decide the rest.

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_crypto::certificate::IdentityKind;
use countersign_crypto::csr::{self, CsrError, VerifiedCsr};
use countersign_crypto::digest::sha256;
use countersign_crypto::pkcs7;
use countersign_crypto::tls::VerifiedPeer;
use countersign_model::grant::Grant;

use super::body::request_der;
use crate::authority::Authority;
use crate::error::{AuthorityError, Fault};
use crate::issuance::{Ask, issue};
use crate::profile::{ServerNames, dns_names};
use crate::registration::{Claim, Refusal};
use crate::serve::ConnectedPeer;
use crate::subject::{Purpose, Subject};

const CERTS_ONLY: &str = "application/pkcs7-mime; smime-type=certs-only";
const CSR_ATTRIBUTES: &str = "application/csrattrs";
const TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");

/// Distribution of CA certificates (RFC 7030 section 4.1): for anybody.
//= specs/house.md#house-est
//# The distribution of authority certificates MUST work without a client certificate.
pub(super) async fn cacerts(State(authority): State<Authority>) -> Response {
    let bundle = authority.authorities().and_then(|all| Ok(pkcs7::certs_only(&all.all())?));
    bundle.map_or_else(|error| refusal(&error), |der| encoded(CERTS_ONLY, &der))
}

/// CSR attributes (RFC 7030 section 4.5): the curve and hash that the next key is to have, by the policy in force.
//= specs/house.md#house-est
//# A client MUST be able to learn which key the authority will certify before it makes one.
pub(super) async fn csrattrs(
    State(authority): State<Authority>,
    Extension(ConnectedPeer(peer)): Extension<ConnectedPeer>,
) -> Response {
    let purpose = match peer.map(|peer| peer.kind()) {
        Some(IdentityKind::Service) => Purpose::Service,
        _ => Purpose::Operation,
    };
    match authority.core.authorities().and_then(|_| authority.core.algorithm_for(purpose)) {
        Ok(algorithm) => encoded(CSR_ATTRIBUTES, &csr::attributes(algorithm)),
        Err(error) => refusal(&error),
    }
}

/// First enrolment (RFC 7030 section 4.2): by the factory identity of the same thing.
//= specs/house.md#house-est
//# Enrolment MUST NOT work without a verified identity.
pub(super) async fn simpleenroll(
    State(authority): State<Authority>,
    Extension(ConnectedPeer(peer)): Extension<ConnectedPeer>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let Some(peer) = peer else {
        return match basic(&headers) {
            Some((name, code)) => match by_code(&authority, &name, &code, &body).await {
                Ok(der) => encoded(CERTS_ONLY, &der),
                Err(AuthorityError::Refused(Refusal::Code)) => unauthenticated(),
                Err(error) => refusal(&error),
            },
            None => unauthenticated(),
        };
    };
    if peer.kind() != IdentityKind::IdevId {
        return said(
            StatusCode::FORBIDDEN,
            "simpleenroll is for factory identities; renew by simplereenroll with the current certificate",
        );
    }
    let claim = Claim::FactoryIdentity(peer.certificate().clone());
    enrol(&authority, &peer, Purpose::Operation, claim, &body).await
}

/// Renewal and rekeying (RFC 7030 section 4.2.2): the connection proves the current certificate, the request the new key.
pub(super) async fn simplereenroll(
    State(authority): State<Authority>,
    Extension(ConnectedPeer(peer)): Extension<ConnectedPeer>,
    body: axum::body::Bytes,
) -> Response {
    let Some(peer) = peer else { return unauthenticated() };
    let purpose = match peer.kind() {
        // Its operational certificate has expired, so that no handshake is made with it: the factory identity proves it.
        IdentityKind::IdevId => {
            let claim = Claim::FactoryIdentity(peer.certificate().clone());
            return enrol(&authority, &peer, Purpose::Operation, claim, &body).await;
        }
        IdentityKind::Thing => Purpose::Operation,
        IdentityKind::Service => Purpose::Service,
        _ => {
            return said(
                StatusCode::FORBIDDEN,
                "simplereenroll renews operational certificates; enrol a factory identity by simpleenroll",
            );
        }
    };
    let claim = Claim::Current(peer.certificate().clone());
    enrol(&authority, &peer, purpose, claim, &body).await
}

async fn enrol(
    authority: &Authority,
    peer: &VerifiedPeer,
    purpose: Purpose,
    claim: Claim,
    body: &[u8],
) -> Response {
    match try_enrol(authority, peer, purpose, claim, body).await {
        Ok(der) => encoded(CERTS_ONLY, &der),
        Err(error) => refusal(&error),
    }
}

async fn try_enrol(
    authority: &Authority,
    peer: &VerifiedPeer,
    purpose: Purpose,
    claim: Claim,
    body: &[u8],
) -> Result<Vec<u8>, AuthorityError> {
    let (request, verified) = proven(body)?;
    let subject = subject(peer)?;
    check_names(&verified, &subject, purpose)?;
    certify(authority, subject, purpose, claim, (&request, &verified), None).await
}

/// Somebody without an identity, with a code: the name is the one that the code was made for.
async fn by_code(
    authority: &Authority,
    name: &str,
    code: &str,
    body: &[u8],
) -> Result<Vec<u8>, AuthorityError> {
    // What costs nothing first: a request that proves nothing does not use a code up.
    let (request, verified) = proven(body)?;
    if let Some(other) = verified.common_name().filter(|other| *other != name) {
        return Err(Refusal::OtherSubject(other.to_owned()).into());
    }
    let core = authority.core.clone();
    let digest = hex::encode(sha256(&request));
    let (name, code) = (name.to_owned(), code.to_owned());
    let redeemed = tokio::spawn(async move { core.redeem(&name, &code, &digest).await });
    let (subject, grants) = redeemed.await.map_err(|_| AuthorityError::Worker)??;
    let (purpose, grants) = match subject {
        Subject::Service(_) => (Purpose::Service, Some(grants)),
        _ => (Purpose::Operation, None),
    };
    check_names(&verified, &subject, purpose)?;
    certify(authority, subject, purpose, Claim::Code, (&request, &verified), grants).await
}

/// The user name and password of HTTP Basic (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = value.split_once(' ')?;
    // The longest name has 64 characters.
    if !scheme.eq_ignore_ascii_case("basic") || value.len() > 256 {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(value.trim()).ok()?).ok()?;
    let (name, code) = text.split_once(':')?;
    Some((name.to_owned(), code.to_owned()))
}

/// The request, whose sender holds the new key.
fn proven(body: &[u8]) -> Result<(Vec<u8>, VerifiedCsr), AuthorityError> {
    let request = request_der(body).ok_or(CsrError::Malformed)?;
    let verified = csr::verify(&request)?;
    Ok((request, verified))
}

async fn certify(
    authority: &Authority,
    subject: Subject,
    purpose: Purpose,
    claim: Claim,
    (request, verified): (&[u8], &VerifiedCsr),
    grants: Option<Vec<Grant>>,
) -> Result<Vec<u8>, AuthorityError> {
    let ask = Ask {
        subject,
        purpose,
        claim,
        spki_der: verified.spki_der().to_vec(),
        request_sha256: hex::encode(sha256(request)),
        grants,
        server: ServerNames::default(),
        key_label: String::new(),
    };
    // In a task of its own: a client that hangs up does not leave an issuance half-way.
    let (authority, subject) = (authority.clone(), ask.subject.clone());
    let issued = tokio::spawn(async move {
        let issued = issue(&authority.core, ask).await;
        if let Err(error) = &issued {
            authority.answer_clone(&subject, error).await;
        }
        issued
    });
    let issued = issued.await.map_err(|_| AuthorityError::Worker)??;
    // The certificate alone: the CAs come from cacerts (RFC 7030 section 4.2.3).
    Ok(pkcs7::certs_only(std::slice::from_ref(issued.chain.leaf()))?)
}

fn subject(peer: &VerifiedPeer) -> Result<Subject, AuthorityError> {
    let kind = match peer.kind() {
        IdentityKind::IdevId | IdentityKind::Thing => "thing",
        IdentityKind::Service => "service",
        _ => return Err(Refusal::Purpose.into()),
    };
    let subject = Subject::from_parts(kind, peer.name()).ok().flatten();
    subject.ok_or_else(|| Refusal::UnknownCertificate.into())
}

/// A request may repeat the names that it gets, and ask for no others.
//= specs/house.md#house-est
//# An enrolment request MUST be refused when it names another subject than the identity that asks.
fn check_names(
    request: &VerifiedCsr,
    subject: &Subject,
    purpose: Purpose,
) -> Result<(), AuthorityError> {
    if let Some(name) = request.common_name().filter(|name| *name != subject.name()) {
        return Err(Refusal::OtherSubject(name.to_owned()).into());
    }
    let dns = dns_names(purpose, subject.name(), &ServerNames::default());
    let uri = purpose.identity_name(subject)?.to_string();
    let plain = request.other_names() == 0
        && request.dns().iter().all(|name| dns.contains(name))
        && request.uris().iter().all(|name| *name == uri);
    if plain { Ok(()) } else { Err(Refusal::OtherNames.into()) }
}

//= specs/house.md#house-est
//# An EST reply MUST be base64 on one line with its length announced.
fn encoded(content_type: &'static str, der: &[u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (TRANSFER_ENCODING, HeaderValue::from_static("base64")),
    ];
    (headers, BASE64.encode(der)).into_response()
}

fn unauthenticated() -> Response {
    let mut response = said(
        StatusCode::UNAUTHORIZED,
        "enrolment needs a client certificate, the factory identity or the current one, or a code that admits this",
    );
    for scheme in ["Basic realm=\"enrolment code\"", "TLS-Client-Certificate"] {
        let scheme = HeaderValue::from_static(scheme);
        response.headers_mut().append(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// The one place that maps errors to EST's answers: what the asker can mend is said, all else stays inside.
fn refusal(error: &AuthorityError) -> Response {
    match error.fault() {
        Fault::Request => said(StatusCode::BAD_REQUEST, error.to_string()),
        Fault::Refused => said(StatusCode::FORBIDDEN, error.to_string()),
        Fault::Operator | Fault::Environment => {
            tracing::error!(%error, "EST could not answer");
            said(
                StatusCode::SERVICE_UNAVAILABLE,
                "the authority cannot answer now: try again later",
            )
        }
        Fault::Program => {
            tracing::error!(%error, "EST met a fault of this program");
            said(StatusCode::INTERNAL_SERVER_ERROR, "the authority failed: tell its operator")
        }
    }
}

fn said(status: StatusCode, text: impl Into<String>) -> Response {
    let mut text = text.into();
    text.push('\n');
    (status, text).into_response()
}
