//! Every affordance of the declaration, tried over the local API by everybody who should and should not.
//!
//! Subjects: nobody; a person of another home; a person of another home whose certificate copies the
//! names of a right one; each given credential. A right credential only reads, unless commands are
//! allowed. Those who must be refused try everything: if one gets through, that is the finding.

use super::http;
use super::tls::{Dial, DialError, Identity, dial};
use super::{CONNECT_LIMIT, ProbeError, connect};
use crate::evidence::{AccessFacts, Attempt, Outcome, Subject};
use countersign_model::ixit::{Affordance, Listener, Method, Operation, Protocol};
use countersign_model::role::Role;
use countersign_model::time::Timestamp;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::time::Duration;

/// Pause before an attempt that was put off (429) or cut off is made again.
const PAUSE: Duration = Duration::from_millis(700);

/// How often an attempt is made before what came of it is the fact.
const TRIES: u32 = 3;

/// A credential of the home, as files.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// For reports, for example `owner`.
    pub label: String,
    /// Its role at the device.
    pub role: Role,
    /// Certificate chain, leaf first, PEM.
    pub cert_pem: String,
    /// Private key, PEM.
    pub key_pem: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("label", &self.label)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// Why subjects could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// A given credential cannot be used.
    #[error("credential {label}: {why}")]
    Credential {
        /// Its label.
        label: String,
        /// What is wrong with it.
        why: String,
    },
    /// The other home's certificate could not be made.
    #[error("cannot make a certificate of another home: {0}")]
    Making(String),
}

/// Everybody who tries.
pub struct Subjects(Vec<(Subject, Option<Identity>)>);

impl Subjects {
    /// Nobody, the other home, and the given credentials, least role first.
    ///
    /// # Errors
    /// [`SubjectError`] names the credential that is no PEM or does not fit its key.
    pub fn prepare(credentials: &[Credential]) -> Result<Self, SubjectError> {
        let mut known = Vec::new();
        for credential in credentials {
            let identity = Identity::from_pem(&credential.cert_pem, &credential.key_pem)
                .map_err(|why| SubjectError::Credential { label: credential.label.clone(), why })?;
            known.push((credential, identity));
        }
        known.sort_by_key(|(credential, _)| credential.role);
        let stranger = other_home("stranger", "urn:countersign:person:stranger")
            .map_err(SubjectError::Making)?;
        let mut all = vec![(Subject::Nobody, None), (Subject::WrongHome, Some(stranger))];
        if let Some((_, best)) = known.last() {
            let (common, uri) = names_of(best.leaf());
            let copied = other_home(&common, &uri).map_err(SubjectError::Making)?;
            all.push((Subject::CopiedNames, Some(copied)));
        }
        for (credential, identity) in known {
            let subject =
                Subject::Credential { label: credential.label.clone(), role: credential.role };
            all.push((subject, Some(identity)));
        }
        Ok(Self(all))
    }
}

/// A leaf under a CA that nobody knows, made for this run and forgotten after it.
#[expect(
    clippy::disallowed_methods,
    reason = "a stranger's key, outside every keystore by purpose"
)]
fn other_home(common_name: &str, uri: &str) -> Result<Identity, String> {
    let make = || -> Result<(String, String), rcgen::Error> {
        let ca_key = rcgen::KeyPair::generate()?;
        let mut ca = rcgen::CertificateParams::default();
        ca.distinguished_name.push(rcgen::DnType::CommonName, "Another Home");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let issuer_cert = ca.self_signed(&ca_key)?;
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate()?;
        let mut leaf = rcgen::CertificateParams::default();
        leaf.distinguished_name.push(rcgen::DnType::CommonName, common_name);
        leaf.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into()?)];
        leaf.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        leaf.use_authority_key_identifier_extension = true;
        let cert = leaf.signed_by(&key, &issuer)?;
        Ok((cert.pem() + &issuer_cert.pem(), key.serialize_pem()))
    };
    let (certificates, key) = make().map_err(|error| error.to_string())?;
    Identity::from_pem(&certificates, &key)
}

/// Common name and first URI of a leaf; placeholders where it has none.
fn names_of(der: &[u8]) -> (String, String) {
    let facts = super::tls::read_certificate(der);
    let common = facts
        .subject
        .split("CN=")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .unwrap_or("owner");
    let uri = facts.names.iter().find_map(|name| name.strip_prefix("uri:"));
    (common.to_owned(), uri.unwrap_or("urn:countersign:person:owner").to_owned())
}

/// What one run of the probe needs besides the affordance.
pub struct Setting<'a> {
    /// Where the listener answers.
    pub address: SocketAddr,
    /// The listener.
    pub listener: &'a Listener,
    /// Trust anchors for the server, for the record only.
    pub roots: &'a [CertificateDer<'static>],
    /// The time of the assessment.
    pub at: Timestamp,
    /// Right credentials may write and invoke.
    pub allow_commands: bool,
}

/// Lets everybody try one affordance, except those who may change it: that is for [`command`], once all
/// others are done. Never fails: what went wrong is a fact.
pub async fn attempt(
    setting: &Setting<'_>,
    affordance: &Affordance,
    subjects: &Subjects,
) -> AccessFacts {
    let mut attempts = Vec::with_capacity(subjects.0.len());
    for (subject, identity) in &subjects.0 {
        let outcome = if is_command(affordance, subject) {
            Outcome::NotTried(
                reason_not_to_command(setting, affordance).unwrap_or("not yet").to_owned(),
            )
        } else if !matches!(setting.listener.protocol, Protocol::Https | Protocol::Http) {
            Outcome::NotTried("only HTTP affordances can be tried".to_owned())
        } else {
            patiently(setting, affordance, identity.as_ref()).await
        };
        attempts.push(Attempt { subject: subject.clone(), outcome });
    }
    AccessFacts {
        affordance: affordance.name.clone(),
        operation: affordance.operation,
        method: affordance.method,
        path: affordance.path.clone(),
        listener: affordance.listener.clone(),
        access: affordance.access,
        security_relevant: affordance.security_relevant,
        service: affordance.service.clone(),
        attempts,
    }
}

/// Lets those who may write or invoke do so, where that is allowed and safe. Comes after every attempt of
/// the others, so that no command changes who is refused.
pub async fn command(
    setting: &Setting<'_>,
    affordance: &Affordance,
    subjects: &Subjects,
    facts: &mut AccessFacts,
) {
    if reason_not_to_command(setting, affordance).is_some() {
        return;
    }
    for ((subject, identity), attempt) in subjects.0.iter().zip(&mut facts.attempts) {
        if is_command(affordance, subject) {
            attempt.outcome = patiently(setting, affordance, identity.as_ref()).await;
        }
    }
}

fn is_command(affordance: &Affordance, subject: &Subject) -> bool {
    affordance.operation.changes() && subject.may(affordance.access)
}

/// A right command is carried out: only one that the declaration gives a sample for is sent, and no deletion.
fn reason_not_to_command(setting: &Setting<'_>, affordance: &Affordance) -> Option<&'static str> {
    if !matches!(setting.listener.protocol, Protocol::Https | Protocol::Http) {
        return Some("only HTTP affordances can be tried");
    }
    if !setting.allow_commands {
        return Some("commands by those who may were not allowed in this run");
    }
    if affordance.method == Method::Delete {
        return Some("a deletion by those who may cannot be undone");
    }
    affordance.sample.is_none().then_some("the declaration gives no sample that is safe to send")
}

async fn patiently(
    setting: &Setting<'_>,
    affordance: &Affordance,
    identity: Option<&Identity>,
) -> Outcome {
    let mut outcome = Outcome::Silent;
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(PAUSE * attempt).await;
        }
        outcome = once(setting, affordance, identity).await;
        if !matches!(outcome, Outcome::Status(429 | 503) | Outcome::Closed | Outcome::Unreachable) {
            break;
        }
    }
    outcome
}

async fn once(
    setting: &Setting<'_>,
    affordance: &Affordance,
    identity: Option<&Identity>,
) -> Outcome {
    let host = setting.listener.server_name.clone().unwrap_or_else(|| setting.address.to_string());
    let sample = affordance.sample.as_ref().unwrap_or(&serde_json::Value::Null).to_string();
    let body = match affordance.operation {
        Operation::WriteProperty | Operation::InvokeAction => Some(sample.as_bytes()),
        _ => None,
    };
    if setting.listener.protocol == Protocol::Http {
        return match connect(setting.address, CONNECT_LIMIT).await {
            Ok(mut stream) => {
                http::exchange(&mut stream, &host, affordance.method, &affordance.path, body).await
            }
            Err(_) => Outcome::Unreachable,
        };
    }
    // The request is one of HTTP/1.1: where the server speaks that among others, nothing else is offered.
    let http1 = ["http/1.1".to_owned()];
    let alpn = &setting.listener.alpn;
    let how = Dial {
        address: setting.address,
        listener: setting.listener,
        alpn: if alpn.contains(&http1[0]) { &http1 } else { alpn },
        identity,
        schemes: None,
        roots: setting.roots,
        at: setting.at,
    };
    match dial(&how).await {
        // A right credential's request is not handed to a server that does not lead to the given roots.
        Ok(dialled) if identity.is_some() && dialled.path().is_some_and(|path| !path.valid) => {
            let why = dialled.path().and_then(|path| path.error).unwrap_or_default();
            Outcome::NotTried(format!(
                "the server's certificate does not lead to the given roots: {why}"
            ))
        }
        Ok(mut dialled) => {
            http::exchange(&mut dialled.stream, &host, affordance.method, &affordance.path, body)
                .await
        }
        Err(DialError::Alert(alert)) => Outcome::Alert(alert),
        Err(DialError::Closed) => Outcome::Closed,
        Err(DialError::Probe(ProbeError::Unreachable(_))) => Outcome::Unreachable,
        Err(DialError::Probe(ProbeError::Silent)) => Outcome::Silent,
        Err(DialError::Probe(ProbeError::NotTls(_)) | DialError::Tls(_)) => Outcome::Garbage,
        Err(DialError::Own(why)) => Outcome::NotTried(why),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn copied_names_are_the_names_of_the_best_credential() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "alice");
        params.subject_alt_names =
            vec![rcgen::SanType::URI("urn:countersign:person:alice".try_into().unwrap())];
        let cert = params.self_signed(&key).unwrap();
        assert_eq!(names_of(cert.der()), ("alice".into(), "urn:countersign:person:alice".into()));
        let owner = Credential {
            label: "owner".into(),
            role: Role::Owner,
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
        };
        assert!(!format!("{owner:?}").contains("PRIVATE"));
        let subjects = Subjects::prepare(&[owner]).unwrap();
        let copied =
            subjects.0.iter().find(|(subject, _)| *subject == Subject::CopiedNames).unwrap();
        assert_eq!(names_of(copied.1.as_ref().unwrap().leaf()).0, "alice");
    }

    #[test]
    fn a_right_command_is_sent_only_when_allowed_and_safe() {
        use countersign_model::ixit::{Access, AffordanceKind};
        let listener = Listener::default();
        let setting = |allow_commands| Setting {
            address: "127.0.0.1:1".parse().unwrap(),
            listener: &listener,
            roots: &[],
            at: Timestamp(0),
            allow_commands,
        };
        let mut reset = Affordance {
            name: "reset".into(),
            kind: AffordanceKind::Action,
            operation: Operation::InvokeAction,
            listener: "L".into(),
            method: Method::Post,
            path: "/actions/reset".into(),
            access: Access::Owner,
            security_relevant: true,
            states: vec![],
            service: None,
            sample: None,
        };
        let owner = Subject::Credential { label: "owner".into(), role: Role::Owner };
        assert!(is_command(&reset, &owner) && !is_command(&reset, &Subject::WrongHome));
        assert!(reason_not_to_command(&setting(true), &reset).unwrap().contains("no sample"));
        reset.sample = Some(serde_json::json!(1));
        assert!(reason_not_to_command(&setting(false), &reset).unwrap().contains("not allowed"));
        assert_eq!(reason_not_to_command(&setting(true), &reset), None);
        reset.method = Method::Delete;
        assert!(reason_not_to_command(&setting(true), &reset).unwrap().contains("undone"));
    }

    #[test]
    fn a_broken_credential_is_named() {
        let bad = Credential {
            label: "viewer".into(),
            role: Role::Viewer,
            cert_pem: "x".into(),
            key_pem: "y".into(),
        };
        assert!(Subjects::prepare(&[bad]).err().unwrap().to_string().contains("viewer"));
    }
}
