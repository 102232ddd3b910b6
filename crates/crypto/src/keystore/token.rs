//! Keys in a PKCS#11 token (OASIS PKCS #11 3.1): made inside, sensitive, never extractable.
//!
//! ```text
//!  Token ── pool of sessions, logged in ──► C_Sign (CKM_ECDSA) over a hash that is computed here
//!    └─ a session that was lost (token pulled, daemon restarted) is opened anew once; then the error stands
//! ```

mod config;
mod pool;

use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use der::asn1::{ObjectIdentifier, OctetString};
use der::{Decode as _, Encode as _};

use super::{KeystoreError, MAX_LABEL};
use crate::digest;
use crate::random::{Random as _, SystemRandom};
use crate::signature::{self, KeyHandle, SignatureAlgorithm, SignatureError, Signer};

pub use config::TokenConfig;
use pool::Pool;
pub use pool::TokenError;

/// Bytes of CKA_ID, which ties the two halves of a key pair together: as many as make a clash impossible.
const ID_LEN: usize = 16;

/// A PKCS#11 token that somebody is logged in to. Cheap to clone.
#[derive(Clone)]
pub struct Token {
    pool: Arc<Pool>,
    prefix: Arc<str>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("name", &self.name()).field("prefix", &self.prefix).finish()
    }
}

impl Token {
    /// Loads the module, finds the token by its label and logs in.
    ///
    /// # Errors
    /// [`TokenError`] names the module, the token or the PIN file, and the mend.
    pub fn open(config: &TokenConfig) -> Result<Self, TokenError> {
        let pool = Arc::new(Pool::open(config)?);
        Ok(Self { pool, prefix: config.prefix().into() })
    }

    /// The token's label.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pool.name()
    }

    /// A key's label as the token knows it: behind the prefix, which keeps several users of one token apart.
    pub(super) fn full_label(&self, label: &str) -> String {
        format!("{}{label}", self.prefix)
    }

    //= specs/house.md#house-secrets
    //# A private key in a token MUST be made there and MUST NOT be extractable.
    pub(super) fn generate(
        &self,
        label: &str,
        algorithm: SignatureAlgorithm,
    ) -> Result<KeyHandle, KeystoreError> {
        let full = self.full_label(label);
        if full.len() > MAX_LABEL {
            return Err(KeystoreError::Label(full));
        }
        let mut id = vec![0; ID_LEN];
        SystemRandom.fill(&mut id);
        let curve = signature::curve(algorithm).to_der().map_err(|_| SignatureError::Backend)?;
        let made = self.pool.with(|session| {
            if !private_keys(session, &full)?.is_empty() {
                return Ok(None);
            }
            let public = [
                Attribute::Token(true),
                Attribute::Private(false),
                Attribute::Verify(true),
                Attribute::EcParams(curve.clone()),
                Attribute::Label(full.clone().into_bytes()),
                Attribute::Id(id.clone()),
            ];
            let private = [
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
                Attribute::Label(full.clone().into_bytes()),
                Attribute::Id(id.clone()),
            ];
            session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).map(Some)
        })?;
        if made.is_none() {
            return Err(KeystoreError::Exists(full));
        }
        // Read back as anybody would load it: a token that ignores the template is found here.
        match self.load(label) {
            Ok(Some(key)) => Ok(key),
            Ok(None) => Err(KeystoreError::NotInToken(full, self.name().to_owned())),
            Err(refused) => {
                self.destroy(label)?;
                Err(refused)
            }
        }
    }

    pub(super) fn load(&self, label: &str) -> Result<Option<KeyHandle>, KeystoreError> {
        let full = self.full_label(label);
        let Some(found) = self.pool.with(|session| Found::look(session, &full))? else {
            return Ok(None);
        };
        let odd =
            |what| TokenError::Key { token: self.name().to_owned(), label: full.clone(), what };
        let Found::One { private, hidden, spki } = found else {
            return Err(odd("stands there twice: remove the one that is not yours").into());
        };
        if !hidden {
            return Err(odd("could be taken out of the token: keys must be sensitive and not extractable; make a new one").into());
        }
        let spki = spki.ok_or_else(|| odd("has no public half with a named curve beside it"))?;
        let algorithm = SignatureAlgorithm::of_spki(&spki)
            .ok_or_else(|| odd("is on a curve that is not used here"))?;
        let key = InToken {
            pool: self.pool.clone(),
            label: full,
            algorithm,
            spki,
            private: Mutex::new(private),
        };
        Ok(Some(KeyHandle::new(Arc::new(key))))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), KeystoreError> {
        self.destroy(to)?;
        let (from, to) = (self.full_label(from), self.full_label(to));
        let moved = self.pool.with(|session| {
            let both = session.find_objects(&[Attribute::Label(from.clone().into_bytes())])?;
            for object in &both {
                session.update_attributes(*object, &[Attribute::Label(to.clone().into_bytes())])?;
            }
            Ok(!both.is_empty())
        })?;
        if moved { Ok(()) } else { Err(KeystoreError::NotInToken(from, self.name().to_owned())) }
    }

    pub(super) fn destroy(&self, label: &str) -> Result<(), KeystoreError> {
        let full = self.full_label(label);
        self.pool.with(|session| {
            for object in session.find_objects(&[Attribute::Label(full.clone().into_bytes())])? {
                session.destroy_object(object)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    pub(super) fn list(&self) -> Result<Vec<String>, KeystoreError> {
        let found = self.pool.with(|session| {
            let mut labels = Vec::new();
            for object in session.find_objects(&[
                Attribute::Class(ObjectClass::PRIVATE_KEY),
                Attribute::KeyType(KeyType::EC),
            ])? {
                for attribute in session.get_attributes(object, &[AttributeType::Label])? {
                    if let Attribute::Label(label) = attribute {
                        labels.push(String::from_utf8_lossy(&label).into_owned());
                    }
                }
            }
            Ok(labels)
        })?;
        let mut labels: Vec<String> = found
            .iter()
            .filter_map(|label| label.strip_prefix(&*self.prefix))
            .map(str::to_owned)
            .collect();
        labels.sort();
        Ok(labels)
    }
}

/// What stands in the token under a label.
enum Found {
    Many,
    One { private: ObjectHandle, hidden: bool, spki: Option<Vec<u8>> },
}

impl Found {
    fn look(session: &Session, label: &str) -> cryptoki::error::Result<Option<Self>> {
        let private = match private_keys(session, label)?[..] {
            [] => return Ok(None),
            [one] => one,
            _ => return Ok(Some(Self::Many)),
        };
        let wanted = [AttributeType::Id, AttributeType::Sensitive, AttributeType::Extractable];
        let (mut id, mut sensitive, mut extractable) = (None, false, true);
        for attribute in session.get_attributes(private, &wanted)? {
            match attribute {
                Attribute::Id(bytes) => id = Some(bytes),
                Attribute::Sensitive(word) => sensitive = word,
                Attribute::Extractable(word) => extractable = word,
                _ => {}
            }
        }
        let mut template = vec![
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::EC),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        template.extend(id.map(Attribute::Id));
        let mut spki = None;
        for public in session.find_objects(&template)? {
            spki = read_spki(session, public)?;
        }
        Ok(Some(Self::One { private, hidden: sensitive && !extractable, spki }))
    }
}

fn private_keys(session: &Session, label: &str) -> cryptoki::error::Result<Vec<ObjectHandle>> {
    session.find_objects(&[
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Label(label.as_bytes().to_vec()),
    ])
}

/// SubjectPublicKeyInfo from CKA_EC_PARAMS (a curve's identifier, DER) and CKA_EC_POINT (an OCTET STRING around the point).
fn read_spki(session: &Session, public: ObjectHandle) -> cryptoki::error::Result<Option<Vec<u8>>> {
    let (mut curve, mut point) = (None, None);
    let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
    for attribute in session.get_attributes(public, &wanted)? {
        match attribute {
            Attribute::EcParams(der) => curve = ObjectIdentifier::from_der(&der).ok(),
            Attribute::EcPoint(der) => {
                point = OctetString::from_der(&der).ok().map(|octets| octets.as_bytes().to_vec());
            }
            _ => {}
        }
    }
    Ok(curve.zip(point).and_then(|(curve, point)| signature::spki(curve, &point)))
}

struct InToken {
    pool: Arc<Pool>,
    label: String,
    algorithm: SignatureAlgorithm,
    spki: Vec<u8>,
    /// Of the present login; looked up anew after a loss.
    private: Mutex<ObjectHandle>,
}

impl Signer for InToken {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let hash = match self.algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => digest::sha256(message).to_vec(),
            SignatureAlgorithm::EcdsaP384Sha384 => digest::sha384(message).to_vec(),
        };
        let signed = self.pool.with_again(
            |session| {
                let private = *self.private.lock().unwrap_or_else(PoisonError::into_inner);
                session.sign(&Mechanism::Ecdsa, private, &hash)
            },
            |session| {
                if let [one] = private_keys(session, &self.label)?[..] {
                    *self.private.lock().unwrap_or_else(PoisonError::into_inner) = one;
                }
                Ok(())
            },
        );
        // The holder says no more than that it cannot; the pool's log line says why.
        let fixed = signed.map_err(|_| SignatureError::Backend)?;
        signature::from_fixed(self.algorithm, &fixed)
    }
}
