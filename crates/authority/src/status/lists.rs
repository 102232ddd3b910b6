//! Revocation lists: which there are, and making them when something changed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_crypto::certificate::Certificate;
use countersign_crypto::crl::{self, Contents, Crl, Entry};
use countersign_crypto::file;
use countersign_crypto::signature::KeyHandle;
use countersign_model::time::{Timestamp, Validity};

use crate::authorities::{ROOT, certificate_file, generations, read};
use crate::authority::{Authority, Core};
use crate::error::AuthorityError;
use crate::registration::Reason;
use crate::revocation::many::Many;
use crate::rotation::KeyState;
use crate::store::{CrlPlace, Turn};

/// Into how many lists the serial numbers of one CA are cut. They are random, so the lists are equally long: of a million
/// certificates of which one in twenty is revoked, a shard names under a thousand.
pub const SHARDS: u16 = 64;

/// How old a list may be that does not name the newest revocation: making one costs a signature.
pub const FRESH: Duration = Duration::from_secs(5);

/// From thisUpdate to nextUpdate.
const COMPLETE_LIFE: Duration = Duration::from_secs(24 * 3600);
const DELTA_LIFE: Duration = Duration::from_secs(3600);

/// How long an expired certificate stays on the lists (RFC 5280 section 3.3 asks for one list beyond).
const AFTER_EXPIRY: Duration = Duration::from_secs(2 * 24 * 3600);

/// Complete, or what came since a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Everything.
    Complete,
    /// What came since the base that it names.
    Delta,
}

/// Which list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The issuing CA's label, or `root`.
    pub issuer: String,
    /// Which shard of its serial numbers; none: all of them.
    pub shard: Option<u16>,
    /// Complete or delta.
    pub form: Form,
}

impl Scope {
    /// `LABEL.crl`, `LABEL-delta.crl`, `LABEL/N.crl` or `LABEL/N-delta.crl`.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        let name = path.strip_suffix(".crl")?;
        let (name, form) = match name.strip_suffix("-delta") {
            Some(name) => (name, Form::Delta),
            None => (name, Form::Complete),
        };
        let (issuer, shard) = match name.split_once('/') {
            Some((issuer, shard)) => (issuer, Some(shard.parse().ok().filter(|n| *n < SHARDS)?)),
            None => (name, None),
        };
        Some(Self { issuer: issuer.to_owned(), shard, form })
    }

    /// The reverse of [`Scope::from_path`].
    #[must_use]
    pub fn path(&self) -> String {
        let shard = self.shard.map(|shard| format!("/{shard}")).unwrap_or_default();
        let form = if self.form == Form::Delta { "-delta" } else { "" };
        format!("{}{shard}{form}.crl", self.issuer)
    }

    /// From which first octets of a serial number on, and up to which, in hexadecimal.
    fn range(&self) -> (String, String) {
        match self.shard {
            None => (String::new(), "g".to_owned()),
            Some(shard) => {
                let edge = |shard: u16| (u32::from(shard) << 16) / u32::from(SHARDS);
                let end = match shard + 1 {
                    SHARDS => "g".to_owned(),
                    next => format!("{:04x}", edge(next)),
                };
                (format!("{:04x}", edge(shard)), end)
            }
        }
    }
}

type Kept = HashMap<Scope, (Timestamp, u64, Arc<Crl>)>;

/// The lists that were made last. Scopes are those of known CAs, so their number is bounded.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Kept>);

impl Authority {
    /// The newest list of a scope, made now if what is at hand is too old.
    ///
    /// # Errors
    /// [`AuthorityError::Unknown`] for a CA that there is not, or whose key is gone without a last list.
    //= specs/house.md#house-revocation
    //# A revoked certificate MUST be on its issuer's list within ten seconds.
    pub async fn crl(&self, scope: &Scope) -> Result<Arc<Crl>, AuthorityError> {
        let core = &self.core;
        let (now, generation) = (core.now(), core.store.generation().await?);
        let life = match scope.form {
            Form::Complete => COMPLETE_LIFE,
            Form::Delta => DELTA_LIFE,
        };
        let kept = core.lists.0.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned();
        if let Some((made, of, crl)) = kept {
            let age = now.since(made);
            if now >= made && age < life / 4 && (of == generation || age < FRESH) {
                return Ok(crl);
            }
        }
        let crl = Arc::new(core.make_list(scope, life, now).await?);
        let entry = (now, generation, crl.clone());
        core.lists.0.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.clone(), entry);
        Ok(crl)
    }

    /// Every CA that signs lists, by label.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub async fn list_issuers(&self) -> Result<Vec<String>, AuthorityError> {
        let rows = generations(&self.core.store.issuing().await?);
        let mut labels: Vec<String> = Vec::new();
        for row in rows {
            if self.core.list_key(&row.label)?.is_some() || self.core.last_list(&row.label).exists()
            {
                labels.push(row.label);
            }
        }
        if self.core.list_key(ROOT)?.is_some() {
            labels.push(ROOT.to_owned());
        }
        Ok(labels)
    }

    /// The list that stands when a CA's key is gone: it ends with the CA's certificate.
    pub(crate) async fn write_last_list(&self, label: &str) -> Result<(), AuthorityError> {
        let core = &self.core;
        let path = core.last_list(label);
        let certificate = read(&certificate_file(&core.layout.authority(), label))?;
        let scope = Scope { issuer: label.to_owned(), shard: None, form: Form::Complete };
        let now = core.now();
        let end = certificate.validity().not_after.min(Validity::FOREVER);
        let crl = core.make_list(&scope, end.since(now), now).await?;
        if let Some(folder) = path.parent() {
            file::private_folder(folder).map_err(AuthorityError::io(folder))?;
        }
        file::write_atomic(&path, crl.der(), file::PUBLIC).map_err(AuthorityError::io(&path))
    }
}

impl Core {
    fn last_list(&self, label: &str) -> PathBuf {
        self.layout.authority().join("crl").join(format!("{label}.crl"))
    }

    /// The key that signs a CA's lists; `None` where it is gone. A list is made for whoever asks, so the root's is for
    /// this only where the plan lets this process use it alone: custodians approve each signature.
    //= specs/house.md#house-custody
    //# The root MUST NOT sign without the approvals of as many different custodians as the plan says.
    fn list_key(&self, label: &str) -> Result<Option<KeyHandle>, AuthorityError> {
        match self.keys.load(label)? {
            Some(_) if label == ROOT && !self.root_is_at_hand(&self.plan()?) => Ok(None),
            key => Ok(key),
        }
    }

    async fn make_list(
        &self,
        scope: &Scope,
        life: Duration,
        now: Timestamp,
    ) -> Result<Crl, AuthorityError> {
        let unknown = || AuthorityError::Unknown(format!("the list {}", scope.path()));
        let mut turn = self.store.exclusive().await?;
        let rows = generations(&turn.issuing().await?);
        let known = scope.issuer == ROOT || rows.iter().any(|row| row.label == scope.issuer);
        if !known {
            return Err(unknown());
        }
        let certificate = read(&certificate_file(&self.layout.authority(), &scope.issuer))?;
        let Some(key) = self.list_key(&scope.issuer)? else {
            drop(turn);
            let last = std::fs::read(self.last_list(&scope.issuer)).map_err(|_| unknown())?;
            return Crl::from_der(&last).map_err(|_| unknown());
        };
        // A number of its own for each list, and the base of the deltas: the same for every process.
        let place = turn.next_list(&scope.issuer, scope.shard, scope.form, now).await?;
        let entries = match scope.issuer.as_str() {
            ROOT => self.retired(&mut turn, &rows).await?,
            _ => listed(&mut turn, scope, &place, now).await?,
        };
        let address = |form| {
            let scope = Scope { form, ..scope.clone() };
            format!("{}/crl/{}", self.config.status_url(), scope.path())
        };
        let contents = Contents {
            number: place.number,
            base: (scope.form == Form::Delta).then_some(place.base_number),
            this_update: now,
            next_update: now.plus(life),
            distribution_point: scope.shard.map(|_| address(Form::Complete)),
            freshest: (scope.form == Form::Complete && scope.issuer != ROOT)
                .then(|| address(Form::Delta)),
            authorities: scope.issuer == ROOT,
            entries,
        };
        let crl = crl::sign(&contents, &certificate, &key)?;
        turn.commit().await?;
        Ok(crl)
    }

    /// The issuing CAs that were retired, for the root's list.
    async fn retired(
        &self,
        turn: &mut Turn,
        rows: &[crate::store::IssuingRow],
    ) -> Result<Vec<Entry>, AuthorityError> {
        let mut entries = Vec::new();
        for row in rows {
            if !matches!(row.state, KeyState::Destroyed | KeyState::Compromised) {
                continue;
            }
            let of: Certificate = read(&certificate_file(&self.layout.authority(), &row.label))?;
            let order = turn.order_reason(&Many::Issuer(row.label.clone())).await?;
            let reason = order.unwrap_or(Reason::Superseded).code();
            entries.push(Entry { serial: of.serial().to_vec(), at: row.since, reason });
        }
        Ok(entries)
    }
}

async fn listed(
    turn: &mut Turn,
    scope: &Scope,
    place: &CrlPlace,
    now: Timestamp,
) -> Result<Vec<Entry>, AuthorityError> {
    let since = if scope.form == Form::Delta { place.base_seq } else { 0 };
    let kept = u64::try_from(AFTER_EXPIRY.as_millis()).unwrap_or(u64::MAX);
    let end = Timestamp(now.0.saturating_sub(kept));
    let (from, to) = scope.range();
    let rows = turn.listed(&scope.issuer, (&from, &to), since, end).await?;
    Ok(rows
        .into_iter()
        .filter_map(|(serial, at, reason)| {
            Some(Entry { serial: hex::decode(serial).ok()?, at, reason: reason.code() })
        })
        .collect())
}
