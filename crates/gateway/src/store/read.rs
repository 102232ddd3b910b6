//! Rows → what the broker begins with. Every value is checked as if a stranger had written it.

use super::{Store, StoreError};
use crate::broker::message::{Message, Qos};
use crate::broker::record::{Snapshot, StoredMessage, StoredSession};
use crate::broker::{SessionId, SessionName, Subscription};
use countersign_model::grant::Grant;
use countersign_model::time::Timestamp;
use countersign_protocol::permit::messaging::MessagingSubject;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;

/// What is wrong with a row, in words.
type Why = String;

pub(super) fn column<'r, T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
    row: &'r SqliteRow,
    name: &str,
) -> Result<T, Why> {
    row.try_get(name).map_err(|error| error.to_string())
}

pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, name: &str) -> Result<T, Why> {
    let value: i64 = column(row, name)?;
    T::try_from(value).map_err(|_| format!("{name} is {value}"))
}

pub(super) fn optional<T: TryFrom<i64>>(row: &SqliteRow, name: &str) -> Result<Option<T>, Why> {
    let value: Option<i64> = column(row, name)?;
    value.map(|v| T::try_from(v).map_err(|_| format!("{name} is {v}"))).transpose()
}

fn flag(row: &SqliteRow, name: &str) -> Result<bool, Why> {
    Ok(number::<u8>(row, name)? != 0)
}

fn qos(row: &SqliteRow, name: &str) -> Result<Qos, Why> {
    let value = number::<u8>(row, name)?;
    Qos::from_u8(value).ok_or_else(|| format!("{name} is {value}"))
}

pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    row: &SqliteRow,
    name: &str,
) -> Result<T, Why> {
    let text: &str = column(row, name)?;
    text.parse().map_err(|error| format!("{name} is {text:?}: {error}"))
}

fn json<T: serde::de::DeserializeOwned>(row: &SqliteRow, name: &str) -> Result<T, Why> {
    let text: &str = column(row, name)?;
    serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))
}

fn subject(text: &str, grants: Vec<Grant>) -> Result<MessagingSubject, Why> {
    match text.split_once(':') {
        Some(("thing", name)) => {
            name.parse().map(MessagingSubject::Device).map_err(|e| e.to_string())
        }
        Some(("service", name)) => name
            .parse()
            .map(|name| MessagingSubject::Service { name, grants })
            .map_err(|e| e.to_string()),
        _ => Err(format!("subject is {text:?}")),
    }
}

fn session(row: &SqliteRow) -> Result<StoredSession, Why> {
    let text: &str = column(row, "subject")?;
    let client_id: &str = column(row, "client_id")?;
    Ok(StoredSession {
        id: SessionId(number(row, "id")?),
        name: SessionName { subject: text.into(), client_id: client_id.into() },
        subject: subject(text, json(row, "grants")?)?,
        expiry_secs: number(row, "expiry_secs")?,
        offline_since: optional(row, "offline_since")?.map(Timestamp),
        subscriptions: Vec::new(),
        messages: Vec::new(),
        taken: Vec::new(),
    })
}

fn message(row: &SqliteRow, qos_column: &str, retain: bool) -> Result<Message, Why> {
    let payload: &[u8] = column(row, "payload")?;
    let origin: &str = column(row, "origin")?;
    Ok(Message {
        topic: parsed(row, "topic")?,
        payload: payload.into(),
        qos: qos(row, qos_column)?,
        retain,
        properties: json(row, "properties")?,
        expires_at: optional(row, "expires_at")?.map(Timestamp),
        origin: origin.into(),
    })
}

fn waiting(row: &SqliteRow) -> Result<StoredMessage, Why> {
    let released = flag(row, "released")?;
    Ok(StoredMessage {
        sequence: number(row, "sequence")?,
        message: message(row, "published_qos", false)?,
        qos: qos(row, "qos")?,
        retain: flag(row, "retain")?,
        subscription_ids: json(row, "subscription_ids")?,
        under_way: optional(row, "packet_id")?.map(|id| (id, released)),
    })
}

fn subscription(row: &SqliteRow) -> Result<Subscription, Why> {
    Ok(Subscription {
        qos: qos(row, "qos")?,
        no_local: flag(row, "no_local")?,
        retain_as_published: flag(row, "retain_as_published")?,
        id: optional(row, "identifier")?,
    })
}

impl Store {
    pub(super) async fn rows(
        &mut self,
        statement: &'static str,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let rows = sqlx::query(statement).fetch_all(&mut self.connection).await;
        rows.map_err(|error| self.failed(error))
    }

    pub(super) fn unreadable(&self, what: &'static str) -> impl Fn(Why) -> StoreError {
        let path = self.path.clone();
        move |why| StoreError::Row { path: path.clone(), what, why }
    }

    pub(super) async fn read(&mut self) -> Result<Snapshot, StoreError> {
        let mut sessions = BTreeMap::new();
        for row in self.rows("SELECT * FROM sessions").await? {
            let session = session(&row).map_err(self.unreadable("session"))?;
            sessions.insert(session.id, session);
        }
        // Rows of a session that is not there are left-overs of nothing: batches are applied wholly.
        for row in self.rows("SELECT * FROM subscriptions").await? {
            let unreadable = self.unreadable("subscription");
            let id = number(&row, "session").map(SessionId).map_err(&unreadable)?;
            let filter = parsed(&row, "filter").map_err(&unreadable)?;
            let how = subscription(&row).map_err(&unreadable)?;
            if let Some(session) = sessions.get_mut(&id) {
                session.subscriptions.push((filter, how));
            }
        }
        for row in self.rows("SELECT * FROM queue ORDER BY session, sequence").await? {
            let unreadable = self.unreadable("waiting message");
            let id = number(&row, "session").map(SessionId).map_err(&unreadable)?;
            let message = waiting(&row).map_err(&unreadable)?;
            if let Some(session) = sessions.get_mut(&id) {
                session.messages.push(message);
            }
        }
        for row in self.rows("SELECT * FROM taken").await? {
            let unreadable = self.unreadable("taken packet identifier");
            let id = number(&row, "session").map(SessionId).map_err(&unreadable)?;
            let packet_id = number(&row, "packet_id").map_err(&unreadable)?;
            if let Some(session) = sessions.get_mut(&id) {
                session.taken.push(packet_id);
            }
        }
        let mut retained = Vec::new();
        for row in self.rows("SELECT * FROM retained").await? {
            retained.push(message(&row, "qos", true).map_err(self.unreadable("retained message"))?);
        }
        Ok(Snapshot { sessions: sessions.into_values().collect(), retained })
    }
}
