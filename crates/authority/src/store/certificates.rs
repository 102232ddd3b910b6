//! Certificates that were issued.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_crypto::certificate::Certificate;
use countersign_model::time::{Timestamp, Validity};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError, Turn, signed, subjects, unsigned};
use crate::subject::{Purpose, Subject};

/// Whether a certificate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateStatus {
    /// Until it expires.
    Active,
    /// Never again.
    Revoked,
}

impl CertificateStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }
}

/// One issued certificate and what it was issued on.
#[derive(Debug, Clone)]
pub struct CertificateRecord {
    /// For whom.
    pub subject: Subject,
    /// For what.
    pub purpose: Purpose,
    /// The certificate.
    pub certificate: Certificate,
    /// The issuing CA's label.
    pub issuer: String,
    /// SHA-256 of the request, hexadecimal; empty where there was none.
    pub request_sha256: String,
    /// The keystore's label of its key; empty where the key is elsewhere.
    pub key_label: String,
    /// Whether it counts.
    pub status: CertificateStatus,
    /// When it was signed.
    pub issued_at: Timestamp,
}

impl CertificateRecord {
    /// Active and inside its validity.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.status == CertificateStatus::Active && self.certificate.validity().contains(now)
    }
}

impl Store {
    /// How many certificates are active and unexpired.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_good(&self, now: Timestamp) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS count FROM certificates WHERE status = 'active' AND not_after >= $1",
        )
        .bind(signed(now.0))
        .fetch_one(&self.pool)
        .await
        .map_err(|error| self.failed(error))?;
        Ok(unsigned(row.get("count")))
    }
}

/// The newest certificate of a subject that is active, for one purpose.
#[derive(Debug, Clone)]
pub(crate) struct Newest {
    pub(crate) subject: Subject,
    pub(crate) purpose: Purpose,
    pub(crate) validity: Validity,
}

impl Store {
    /// The newest certificate that counts, of every active subject for every purpose that ends.
    pub(crate) async fn newest_certificates(&self) -> Result<Vec<Newest>, StoreError> {
        let rows = sqlx::query(
            "SELECT c.kind AS kind, c.name AS name, c.purpose AS purpose,
                c.not_before AS not_before, c.not_after AS not_after
             FROM certificates c JOIN subjects s ON s.kind = c.kind AND s.name = c.name
             WHERE s.state = 'active' AND c.status = 'active' AND c.purpose <> 'idevid'
                AND c.changed = (SELECT MAX(n.changed) FROM certificates n WHERE n.kind = c.kind
                    AND n.name = c.name AND n.purpose = c.purpose AND n.status = 'active')",
        );
        let rows = rows.fetch_all(&self.pool).await.map_err(|error| self.failed(error))?;
        let one = |row: &AnyRow| {
            let purpose: String = row.get("purpose");
            let instant = |name: &str| Timestamp(unsigned(row.get(name)));
            Some(Newest {
                subject: subjects::subject(row)?,
                purpose: Purpose::ALL.into_iter().find(|one| one.as_str() == purpose)?,
                validity: Validity {
                    not_before: instant("not_before"),
                    not_after: instant("not_after"),
                },
            })
        };
        rows.iter().map(|row| one(row).ok_or_else(|| self.damaged_row())).collect()
    }

    /// Every serial number that was issued and recorded.
    pub(crate) async fn serials(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("SELECT serial FROM certificates").fetch_all(&self.pool).await;
        let rows = rows.map_err(|error| self.failed(error))?;
        Ok(rows.iter().map(|row| row.get("serial")).collect())
    }
}

impl Turn {
    /// Records certificates, each newer than the one before. The primary key refuses a serial that was used before.
    pub(crate) async fn put_certificates(
        &mut self,
        records: &[CertificateRecord],
    ) -> Result<(), StoreError> {
        let mut changed = self.next_generations(records.len()).await?..;
        let insert = "INSERT INTO certificates (serial, kind, name, purpose, issuer, not_before, not_after, der,
            spki_sha256, request_sha256, key_label, status, issued_at, changed)";
        self.put_rows((insert, 14, ""), records, |statement, record| {
            let validity = record.certificate.validity();
            statement
                .bind(record.certificate.serial_hex())
                .bind(record.subject.kind())
                .bind(record.subject.name().to_owned())
                .bind(record.purpose.as_str())
                .bind(record.issuer.clone())
                .bind(signed(validity.not_before.0))
                .bind(signed(validity.not_after.0))
                .bind(BASE64.encode(record.certificate.der()))
                .bind(record.certificate.spki_sha256())
                .bind(record.request_sha256.clone())
                .bind(record.key_label.clone())
                .bind(record.status.as_str())
                .bind(signed(record.issued_at.0))
                .bind(changed.next())
        })
        .await
    }

    /// Every certificate of the subject for the purpose, newest first.
    pub(crate) async fn certificates_of(
        &mut self,
        subject: &Subject,
        purpose: Purpose,
    ) -> Result<Vec<CertificateRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM certificates WHERE kind = $1 AND name = $2 AND purpose = $3 ORDER BY changed DESC",
        )
        .bind(subject.kind())
        .bind(subject.name())
        .bind(purpose.as_str())
        .fetch_all(self.connection())
        .await;
        let rows = self.done(rows)?;
        rows.iter()
            .map(|row| read(row).ok_or_else(|| self.damaged("a certificate's row")))
            .collect()
    }

    /// The certificate with that serial.
    pub(crate) async fn certificate(
        &mut self,
        serial: &str,
    ) -> Result<Option<CertificateRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM certificates WHERE serial = $1")
            .bind(serial)
            .fetch_optional(self.connection())
            .await;
        let Some(row) = self.done(row)? else { return Ok(None) };
        read(&row).map(Some).ok_or_else(|| self.damaged("a certificate's row"))
    }

    /// Whose certificates with that key count, or counted.
    pub(crate) async fn holders_of(
        &mut self,
        spki_sha256: &str,
    ) -> Result<Vec<Subject>, StoreError> {
        let rows =
            sqlx::query("SELECT DISTINCT kind, name FROM certificates WHERE spki_sha256 = $1")
                .bind(spki_sha256)
                .fetch_all(self.connection())
                .await;
        let rows = self.done(rows)?;
        rows.iter()
            .map(|row| subjects::subject(row).ok_or_else(|| self.damaged("a certificate's row")))
            .collect()
    }

    /// Whether the subject has an operational certificate that counts, with another key.
    pub(crate) async fn has_another_key(
        &mut self,
        subject: &Subject,
        spki_sha256: &str,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT 1 FROM certificates WHERE kind = $1 AND name = $2 AND purpose <> 'idevid'
                AND status = 'active' AND spki_sha256 <> $3 LIMIT 1",
        )
        .bind(subject.kind())
        .bind(subject.name())
        .bind(spki_sha256)
        .fetch_optional(self.connection())
        .await;
        Ok(self.done(row)?.is_some())
    }

    /// Marks a certificate as revoked.
    pub(crate) async fn mark_revoked(&mut self, serial: &str) -> Result<(), StoreError> {
        let changed = self.next_generation().await?;
        let done = sqlx::query(
            "UPDATE certificates SET status = 'revoked', changed = $1 WHERE serial = $2",
        )
        .bind(changed)
        .bind(serial)
        .execute(self.connection())
        .await;
        self.done(done).map(|_| ())
    }
}

pub(super) fn read(row: &AnyRow) -> Option<CertificateRecord> {
    let purpose: String = row.get("purpose");
    let der = BASE64.decode(row.get::<String, _>("der")).ok()?;
    Some(CertificateRecord {
        subject: subjects::subject(row)?,
        purpose: Purpose::ALL.into_iter().find(|one| one.as_str() == purpose)?,
        certificate: Certificate::from_der(&der).ok()?,
        issuer: row.get("issuer"),
        request_sha256: row.get("request_sha256"),
        key_label: row.get("key_label"),
        status: match row.get("status") {
            "active" => CertificateStatus::Active,
            "revoked" => CertificateStatus::Revoked,
            _ => return None,
        },
        issued_at: Timestamp(unsigned(row.get("issued_at"))),
    })
}
