//! The only place that asks an issuing key for a signature, in steps whose order is the security:
//!
//! ```text
//!  1 registration   may this subject have this certificate?   → EnrolmentPermit
//!  2 retry          the same key again, still good?           → the same certificate
//!  3 profile        names, usages, life from the purpose      → Template
//!  4 prepare        to-be-signed bytes                        → Prepared
//!  5 lint           every rule                                → LintedCertificate
//!  6 intent         serial and hash of those bytes, in the ledger, on the disk
//!  7 sign           takes the LintedCertificate by move
//!  8 compare        signed bytes = linted bytes, signature verifies
//!  9 record         ledger, then database; only now is it handed out
//! ```
//!
//! All of it happens in one writer's turn of the store, so that two processes cannot both say yes. Many certificates may
//! share a turn, and with it the waits for the disk: each step is done for all of them before the next one begins, steps
//! 3 to 5 and 7 to 8 on every core.

mod ca;
mod queue;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use countersign_crypto::certificate::{Certificate, CertificateChain};
use countersign_crypto::digest::sha256;
use countersign_crypto::issue::{self, Serial};
use countersign_crypto::retirement::Signatures;
use countersign_crypto::signature::KeyHandle;
use countersign_model::grant::Grant;
use countersign_model::time::{Timestamp, Validity};
use serde_json::{Value, json};

pub(crate) use self::ca::{
    cross_certificate, issue_ca, newborn_root, root_statement, root_withdrawal, self_signed_root,
};
pub(crate) use self::queue::{Queue, issue};
use crate::authorities::{Authorities, IssuingCa};
use crate::authority::Core;
use crate::config::AuthorityConfig;
use crate::error::{AuthorityError, Fault};
use crate::every_core::on_every_core;
use crate::in_force::admits_key;
use crate::ledger::Kind;
use crate::lint::{About, LintedCertificate, lint};
use crate::profile::{self, ServerNames};
use crate::registration::{Claim, EnrolmentPermit, Refusal, permit};
use crate::store::{
    Asking, BatchItem, CertificateRecord, CertificateStatus, Group, SubjectRecord, Turn,
};
use crate::subject::{Purpose, Subject};

/// A certificate is given again for the same key until less than this part of its life is left: one third.
const RENEWAL_PART: u64 = 3;

/// What is asked of the authority.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) subject: Subject,
    pub(crate) purpose: Purpose,
    pub(crate) claim: Claim,
    /// Whose possession was proven, or that was made here.
    pub(crate) spki_der: Vec<u8>,
    /// SHA-256 of the request, hexadecimal; empty for keys made here.
    pub(crate) request_sha256: String,
    /// New grants; `None` leaves them as they are.
    pub(crate) grants: Option<Vec<Grant>>,
    pub(crate) server: ServerNames,
    /// The keystore's label of a key made here for ourselves; else empty.
    pub(crate) key_label: String,
}

/// What was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Leaf, then issuing CA.
    pub chain: CertificateChain,
    /// Whether it is new; `false` for the answer to a repeated request.
    pub fresh: bool,
}

/// Issues in the nine steps for many at once: each step for all of them before the next one, so that they share the waits for the disk.
/// What one of them is refused for is its own answer; where the machine fails, none of them is issued. What deserves an alarm
/// raises one.
pub(crate) async fn issue_all(
    core: &Core,
    asks: Vec<(Ask, Option<BatchItem>)>,
) -> Result<Vec<Result<Issued, AuthorityError>>, AuthorityError> {
    let who = |(ask, _): &(Ask, _)| (ask.subject.clone(), hex::encode(sha256(&ask.spki_der)));
    let asking: Vec<_> = asks.iter().map(who).collect();
    let answers = issue_in_turn(core, asks).await;
    match &answers {
        Ok(answers) => {
            for ((subject, key), answer) in asking.iter().zip(answers) {
                if let Err(error) = answer {
                    core.watch(subject, key, error).await;
                }
            }
        }
        // It is nobody's in particular.
        Err(error) => {
            if let Some((subject, key)) = asking.first() {
                core.watch(subject, key, error).await;
            }
        }
    }
    answers
}

async fn issue_in_turn(
    core: &Core,
    asks: Vec<(Ask, Option<BatchItem>)>,
) -> Result<Vec<Result<Issued, AuthorityError>>, AuthorityError> {
    core.authorities()?;
    let wishes: Vec<_> =
        asks.into_iter().map(|(ask, item)| Wish::new(ask, item, core.serial())).collect();
    let mut turn = core.store.exclusive().await?;
    // As this turn sees them: another process may have rolled an issuing CA a moment ago.
    let authorities = core.authorities_as(&turn.issuing().await?)?;
    let now = core.now();
    let asking: Vec<_> = wishes.iter().map(Wish::asking).collect();
    let known = turn.group(&asking).await?;
    let mut registration = Registration {
        core,
        authorities: &authorities,
        now,
        known,
        seen: HashSet::new(),
        signatures: HashMap::new(),
    };
    let mut answers = Answers(wishes.iter().map(|_| None).collect());
    let mut permitted = Vec::with_capacity(wishes.len());
    for (place, wish) in wishes.into_iter().enumerate() {
        match registration.permit_one(&mut turn, place, wish).await {
            Ok(Step::Permitted(one)) => permitted.push(*one),
            Ok(Step::Again(issued)) => answers.give(place, Ok(issued))?,
            Err(error) => answers.give(place, Err(error))?,
        }
    }

    // 3 to 5. Profile, prepare, lint.
    let (below, config) = (Arc::clone(&authorities), core.config.clone());
    let prepare = move |one: Permitted| (one.place, one.lint(&below, &config, now));
    let mut linted = Vec::with_capacity(permitted.len());
    for (place, one) in on_every_core(permitted, prepare).await? {
        match one {
            Ok(one) => linted.push(one),
            Err(error) => answers.give(place, Err(error))?,
        }
    }
    if !linted.is_empty() {
        //= specs/house.md#house-issuance
        //# The intent to issue MUST be on disk before the certificate is signed.
        // 6. Intent. Meanwhile the database is told of the subjects; it keeps nothing before the end of the turn.
        let intents = linted.iter().map(|one| one.intent(&authorities)).collect();
        let known: Vec<_> = linted.iter().map(|one| &one.of).collect();
        let (intent, put) = tokio::join!(core.record_all(intents), put_known(&mut turn, &known));
        intent?;
        put?;

        // 7 and 8. Sign and compare.
        let by = Arc::clone(&authorities);
        let signed = on_every_core(linted, move |one| one.sign(&by)).await?;
        let signed = signed.into_iter().collect::<Result<Vec<_>, _>>()?;

        // 9. Record. The ledger is on the disk before the database is.
        let records = signed.iter().flat_map(Signed::records).collect();
        let put = put_certificates(&mut turn, &signed, &authorities, now);
        let (recorded, put) = tokio::join!(core.record_all(records), put);
        recorded?;
        put?;
        turn.commit().await?;
        core.notify();
        for one in signed {
            let issuer = authorities.certificate(one.of.ca()).clone();
            let chain = CertificateChain::new(vec![one.certificate, issuer])?;
            answers.give(one.of.place, Ok(Issued { chain, fresh: true }))?;
        }
    }
    Ok(answers.0.into_iter().flatten().collect())
}

/// The answers of a group, each in its place.
struct Answers(Vec<Option<Result<Issued, AuthorityError>>>);

impl Answers {
    /// Keeps an answer, unless it is the machine's: that is for all.
    fn give(
        &mut self,
        place: usize,
        answer: Result<Issued, AuthorityError>,
    ) -> Result<(), AuthorityError> {
        match answer {
            Err(error) if error.fault() == Fault::Environment => Err(error),
            answer => {
                self.0[place] = Some(answer);
                Ok(())
            }
        }
    }
}

/// What was asked for, and the serial that it would get.
struct Wish {
    ask: Ask,
    item: Option<BatchItem>,
    serial: Serial,
    serial_hex: String,
    spki_sha256: String,
}

impl Wish {
    fn new(ask: Ask, item: Option<BatchItem>, serial: Serial) -> Self {
        let spki_sha256 = hex::encode(sha256(&ask.spki_der));
        Self { ask, item, serial, serial_hex: serial.hex(), spki_sha256 }
    }

    fn asking(&self) -> Asking<'_> {
        Asking {
            subject: &self.ask.subject,
            spki_sha256: &self.spki_sha256,
            serial: &self.serial_hex,
        }
    }
}

/// What a group's members are judged by.
struct Registration<'a> {
    core: &'a Core,
    authorities: &'a Authorities,
    now: Timestamp,
    known: Group,
    seen: HashSet<(Subject, Purpose)>,
    /// What the policy in force allows, of each purpose that was asked for.
    signatures: HashMap<Purpose, Signatures>,
}

enum Step {
    Again(Issued),
    Permitted(Box<Permitted>),
}

impl Registration<'_> {
    /// Steps 1 and 2, and whether the key may be certified at all. What is granted to one of the group, the next one sees;
    /// but not yet its certificate.
    async fn permit_one(
        &mut self,
        turn: &mut Turn,
        place: usize,
        wish: Wish,
    ) -> Result<Step, AuthorityError> {
        let (core, now, authorities) = (self.core, self.now, self.authorities);
        let Wish { ask, spki_sha256: key, .. } = &wish;
        if !self.seen.insert((ask.subject.clone(), ask.purpose)) {
            return Err(Refusal::AlreadyManufactured.into());
        }

        // 1. Registration.
        let permit =
            permit(turn, &self.known, &ask.subject, ask.purpose, key, &ask.claim, now).await?;

        // 2. Retry.
        let issuer = authorities.label(profile::issuer(ask.purpose));
        let mut earlier = self.known.certificates(&ask.subject, ask.purpose, key);
        if let Some(again) = earlier.find(|one| answers_again(one, ask, issuer, now)) {
            let chain = authorities.chain(again.certificate.clone())?;
            return Ok(Step::Again(Issued { chain, fresh: false }));
        }
        drop(earlier);

        let signatures = match self.signatures.get(&ask.purpose) {
            Some(signatures) => signatures,
            None => {
                let allowed = core.signatures(ask.purpose)?;
                self.signatures.entry(ask.purpose).or_insert(allowed)
            }
        };
        admits_key(signatures, authorities, (&ask.spki_der, key), now)?;
        if !self.known.take_serial(&wish.serial_hex) {
            return Err(AuthorityError::SerialCollision);
        }
        let before = self.known.subject(&ask.subject);
        let created_at = before.map_or(now, |known| known.created_at);
        let before = before.map(|known| known.grants.clone()).unwrap_or_default();
        let grants = ask.grants.clone().unwrap_or_else(|| before.clone());
        let changed_grants = (grants != before).then(|| grants.clone());
        let (subject, state) = (ask.subject.clone(), permit.next_state());
        let record = SubjectRecord { subject, state, grants, created_at, changed: 0 };
        self.known.put_subject(record.clone());
        self.known.give_key(key, &ask.subject, ask.purpose);
        Ok(Step::Permitted(Box::new(Permitted { place, wish, permit, record, changed_grants })))
    }
}

/// One that registration admits, and what is recorded of it.
struct Permitted {
    /// Where in the group.
    place: usize,
    wish: Wish,
    permit: EnrolmentPermit,
    record: SubjectRecord,
    changed_grants: Option<Vec<Grant>>,
}

impl Permitted {
    fn ca(&self) -> IssuingCa {
        profile::issuer(self.permit.purpose())
    }

    /// Steps 3 to 5.
    fn lint(
        self,
        authorities: &Authorities,
        config: &AuthorityConfig,
        now: Timestamp,
    ) -> Result<Linted, AuthorityError> {
        // 3. Profile.
        let (ask, issuer) = (&self.wish.ask, authorities.issuer(self.ca()));
        let from = issuer.certificate().validity().not_before;
        let serial = self.wish.serial;
        let (spki, server) = (&ask.spki_der, &ask.server);
        let template = profile::template(&self.permit, spki, server, from, config, serial, now)?;

        // 4. Prepare.
        let algorithm = authorities.key(self.ca()).algorithm();
        let prepared = issue::prepare_below(&template, issuer, algorithm)?;

        //= specs/house.md#house-issuance
        //# A certificate that was not linted MUST NOT be signed.
        // 5. Lint.
        let life = profile::life(ask.purpose, config);
        let about = About { purpose: Some(ask.purpose), name: ask.subject.name(), life, now };
        let certificate = lint(prepared, &about)?;
        Ok(Linted { of: self, certificate })
    }
}

/// One that lacks only the signature.
struct Linted {
    of: Permitted,
    certificate: LintedCertificate,
}

impl Linted {
    fn intent(&self, authorities: &Authorities) -> (Kind, Value) {
        let Wish { ask, serial_hex, spki_sha256, .. } = &self.of.wish;
        let body = json!({
            "subject": ask.subject.to_string(), "purpose": ask.purpose.as_str(),
            "issuer": authorities.label(self.of.ca()),
            "serial": serial_hex, "spki_sha256": spki_sha256, "request_sha256": ask.request_sha256,
            "tbs_sha256": hex::encode(sha256(self.certificate.tbs())), "by": word(&ask.claim),
        });
        (Kind::IssuanceIntent, body)
    }

    fn sign(self, authorities: &Authorities) -> Result<Signed, AuthorityError> {
        let ca = self.of.ca();
        let (issuer, key) = (authorities.certificate(ca), authorities.key(ca));
        Ok(Signed { certificate: sign(self.certificate, issuer, key)?, of: self.of })
    }
}

/// One that was signed and compared.
struct Signed {
    of: Permitted,
    certificate: Certificate,
}

impl Signed {
    /// What the ledger gets: the certificate, changed grants, and for a batch that the identity was made.
    fn records(&self) -> Vec<(Kind, Value)> {
        let Wish { ask, item, serial, .. } = &self.of.wish;
        let subject = ask.subject.to_string();
        let mut records = vec![(Kind::Issued, issued_body(&self.certificate, *serial))];
        if let Some(grants) = &self.of.changed_grants {
            let list: Vec<String> = grants.iter().map(ToString::to_string).collect();
            records.push((Kind::GrantsChanged, json!({"subject": subject, "grants": list})));
        }
        if let Some(item) = item {
            //= specs/en-303-645.md#5.5-8
            //# Provisioning MUST leave a record.
            let body = json!({
                "thing": ask.subject.name(), "serial": serial.hex(), "fresh": true,
                "batch": item.batch, "station": item.station, "verifier_sha256": item.verifier_sha256,
            });
            records.push((Kind::FactoryIdentity, body));
        }
        records
    }
}

/// What the database gets of those whose certificates are about to be signed: keys, subjects, items of a batch.
async fn put_known(turn: &mut Turn, permitted: &[&Permitted]) -> Result<(), AuthorityError> {
    let new = permitted.iter().filter(|one| !one.permit.known_key());
    let keys: Vec<_> = new
        .map(|one| (one.wish.spki_sha256.clone(), one.record.subject.clone(), one.permit.purpose()))
        .collect();
    turn.put_keys(&keys).await?;

    // Of a subject that asked for two purposes, the later record has what both were granted.
    let mut later = HashSet::new();
    let mut subjects: Vec<_> = permitted.iter().rev().map(|one| &one.record).collect();
    subjects.retain(|record| later.insert(&record.subject));
    let subjects: Vec<_> = subjects.into_iter().rev().cloned().collect();
    turn.put_subjects(&subjects).await?;

    let items = permitted.iter().map(|one| &one.wish).filter_map(|wish| {
        let item = wish.item.clone()?;
        Some(item.issued(wish.ask.subject.name(), &wish.spki_sha256))
    });
    turn.put_items(&items.collect::<Vec<_>>()).await?;
    Ok(())
}

/// The certificates themselves, signed and compared.
async fn put_certificates(
    turn: &mut Turn,
    signed: &[Signed],
    authorities: &Authorities,
    now: Timestamp,
) -> Result<(), AuthorityError> {
    let certificates = signed.iter().map(|Signed { of, certificate }| CertificateRecord {
        issuer: authorities.label(of.ca()).to_owned(),
        subject: of.record.subject.clone(),
        purpose: of.permit.purpose(),
        certificate: certificate.clone(),
        request_sha256: of.wish.ask.request_sha256.clone(),
        key_label: of.wish.ask.key_label.clone(),
        status: CertificateStatus::Active,
        issued_at: now,
    });
    turn.put_certificates(&certificates.collect::<Vec<_>>()).await?;
    Ok(())
}

/// Signs what was linted, and nothing else.
fn sign(
    linted: LintedCertificate,
    issuer: &Certificate,
    key: &KeyHandle,
) -> Result<Certificate, AuthorityError> {
    //= specs/house.md#house-issuance
    //# A signed certificate MUST be compared with what was linted.
    let expected = linted.tbs().to_vec();
    let certificate = issue::sign(linted.into_prepared(), key)?;
    let same = issue::tbs(certificate.der())? == expected;
    if same && certificate.verify_signed_by(issuer).is_ok() {
        Ok(certificate)
    } else {
        Err(AuthorityError::Mismatch)
    }
}

/// Whether a certificate answers a repeated request, of the same subject, purpose and key: it is still good, and either
/// the request is the very same, or more than a third of its life is left and its issuer still issues.
fn answers_again(record: &CertificateRecord, ask: &Ask, issuer: &str, now: Timestamp) -> bool {
    let same_request =
        !ask.request_sha256.is_empty() && record.request_sha256 == ask.request_sha256;
    let lasts = record.issuer == issuer && !in_renewal(&record.certificate.validity(), now);
    record.is_good(now) && (same_request || lasts)
}

/// Whether less than a third of a life is left.
pub(crate) fn in_renewal(validity: &Validity, now: Timestamp) -> bool {
    let life = validity.not_after.since(validity.not_before).as_millis();
    let left = validity.not_after.since(now).as_millis();
    left * u128::from(RENEWAL_PART) < life
}

pub(crate) fn issued_body(certificate: &Certificate, serial: Serial) -> serde_json::Value {
    json!({
        "serial": serial.hex(),
        "certificate_sha256": hex::encode(certificate.fingerprint()),
        "not_after": certificate.validity().not_after.to_rfc3339(),
    })
}

fn word(claim: &Claim) -> &'static str {
    match claim {
        Claim::Local => "operator",
        Claim::Code => "code",
        Claim::Factory => "factory",
        Claim::FactoryIdentity(_) => "idevid",
        Claim::Current(_) => "current",
    }
}

#[cfg(test)]
mod tests;
