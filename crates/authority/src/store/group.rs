//! What issuing many at once reads and writes: a few statements for all of them, whatever their number.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Row as _};

use super::certificates::CertificateRecord;
use super::subjects::{KeyOwner, SubjectRecord};
use super::{StoreError, Turn, certificates, subjects};
use crate::subject::{Purpose, Subject};

/// Rows of one statement. The widest table here has fourteen columns, and SQLite takes 32766 parameters in a statement,
/// PostgreSQL 65535; beyond a hundred rows a statement's own cost is lost in theirs.
const ROWS: usize = 128;

/// A statement whose values are being bound.
pub(super) type Statement = Query<'static, Any, AnyArguments>;

/// Who asks in a group, with which key, under which serial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) spki_sha256: &'a str,
    pub(crate) serial: &'a str,
}

/// What is known about a group: what the database says, and what the members before were granted.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// By kind and the name without its case, which no two subjects share.
    subjects: HashMap<(&'static str, String), SubjectRecord>,
    owners: HashMap<String, KeyOwner>,
    barred: HashSet<String>,
    /// Newest first.
    certificates: Vec<CertificateRecord>,
    serials: HashSet<String>,
}

impl Group {
    /// What is known about `subject`.
    pub(crate) fn subject(&self, subject: &Subject) -> Option<&SubjectRecord> {
        self.subjects.get(&folded(subject)).filter(|known| known.subject == *subject)
    }

    /// Another subject of the kind whose name differs only in case.
    pub(crate) fn lookalike(&self, subject: &Subject) -> Option<&str> {
        let known = self.subjects.get(&folded(subject)).filter(|known| known.subject != *subject);
        known.map(|known| known.subject.name())
    }

    /// Whose the key is.
    pub(crate) fn key_owner(&self, spki_sha256: &str) -> Option<&KeyOwner> {
        self.owners.get(spki_sha256)
    }

    /// Whether the key was barred.
    pub(crate) fn is_barred(&self, spki_sha256: &str) -> bool {
        self.barred.contains(spki_sha256)
    }

    /// The subject's certificates for the purpose with that key, newest first.
    pub(crate) fn certificates<'a>(
        &'a self,
        subject: &'a Subject,
        purpose: Purpose,
        spki_sha256: &'a str,
    ) -> impl Iterator<Item = &'a CertificateRecord> {
        self.certificates.iter().filter(move |one| {
            one.subject == *subject
                && one.purpose == purpose
                && one.certificate.spki_sha256() == spki_sha256
        })
    }

    /// Takes a serial; `false` for one that was given out before.
    pub(crate) fn take_serial(&mut self, serial: &str) -> bool {
        self.serials.insert(serial.to_owned())
    }

    /// From here on the key is the subject's.
    pub(crate) fn give_key(&mut self, spki_sha256: &str, subject: &Subject, purpose: Purpose) {
        let owner = KeyOwner { subject: subject.clone(), purpose: purpose.as_str().to_owned() };
        self.owners.insert(spki_sha256.to_owned(), owner);
    }

    /// From here on the subject is known so.
    pub(crate) fn put_subject(&mut self, record: SubjectRecord) {
        self.subjects.insert(folded(&record.subject), record);
    }
}

fn folded(subject: &Subject) -> (&'static str, String) {
    (subject.kind(), subject.name().to_ascii_lowercase())
}

impl Turn {
    /// What is known about those who ask.
    pub(crate) async fn group(&mut self, asking: &[Asking<'_>]) -> Result<Group, StoreError> {
        let mut group = Group::default();
        for asking in asking.chunks(ROWS) {
            let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for one in asking {
                names.entry(one.subject.kind()).or_default().push(folded(one.subject).1);
            }
            for (kind, names) in names {
                let text = format!("{} WHERE kind = '{kind}' AND folded IN", subjects::COLUMNS);
                for row in self.among(&text, "", names).await? {
                    let known = subjects::read(&row);
                    group.put_subject(known.ok_or_else(|| self.damaged("a subject's row"))?);
                }
            }
            let keys = || asking.iter().map(|one| one.spki_sha256.to_owned()).collect();
            let text =
                "SELECT spki_sha256, kind, name, purpose FROM subject_keys WHERE spki_sha256 IN";
            for row in self.among(text, "", keys()).await? {
                let subject = subjects::subject(&row);
                let subject = subject.ok_or_else(|| self.damaged("a key's row"))?;
                let owner = KeyOwner { subject, purpose: row.get("purpose") };
                group.owners.insert(row.get("spki_sha256"), owner);
            }
            let text = "SELECT spki_sha256 FROM barred_keys WHERE spki_sha256 IN";
            for row in self.among(text, "", keys()).await? {
                group.barred.insert(row.get("spki_sha256"));
            }
            let text = "SELECT * FROM certificates WHERE spki_sha256 IN";
            for row in self.among(text, "ORDER BY changed DESC", keys()).await? {
                let record = certificates::read(&row);
                let record = record.ok_or_else(|| self.damaged("a certificate's row"))?;
                group.certificates.push(record);
            }
            let serials = asking.iter().map(|one| one.serial.to_owned()).collect();
            let text = "SELECT serial FROM certificates WHERE serial IN";
            for row in self.among(text, "", serials).await? {
                group.serials.insert(row.get("serial"));
            }
        }
        Ok(group)
    }

    /// Writes rows, many in a statement: `insert` up to the values, what follows them, and how one row's are bound.
    pub(super) async fn put_rows<T>(
        &mut self,
        (insert, columns, then): (&str, usize, &str),
        rows: &[T],
        mut bind: impl FnMut(Statement, &T) -> Statement,
    ) -> Result<(), StoreError> {
        for rows in rows.chunks(ROWS) {
            let mut text = format!("{insert} VALUES ");
            for row in 0..rows.len() {
                text.push_str(if row == 0 { "" } else { ", " });
                self.place.parameters(1 + row * columns, columns, &mut text);
            }
            text.extend([" ", then]);
            let mut statement = sqlx::query(sqlx::AssertSqlSafe(text));
            for row in rows {
                statement = bind(statement, row);
            }
            let done = statement.execute(self.connection()).await;
            self.done(done)?;
        }
        Ok(())
    }

    /// The rows in which the last column of `text` is one of these.
    async fn among(
        &mut self,
        text: &str,
        order: &str,
        values: Vec<String>,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let mut text = format!("{text} ");
        self.place.parameters(1, values.len(), &mut text);
        text.extend([" ", order]);
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text));
        for value in values {
            query = query.bind(value);
        }
        let rows = query.fetch_all(self.connection()).await;
        self.done(rows)
    }
}
