//! Records → rows.

use super::{Store, StoreError};
use crate::broker::message::Message;
use crate::broker::record::Record;
use countersign_model::grant::Grant;
use countersign_model::time::Timestamp;
use countersign_protocol::permit::messaging::MessagingSubject;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Connection, Sqlite, SqliteConnection};

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// Numbers in the database are signed; ours stay far below the sign.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn instant(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| signed(at.as_millis()))
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("names, numbers and texts always have a JSON form")
}

impl Store {
    /// Makes the records durable, all or none.
    ///
    /// # Errors
    /// The database's; nothing is changed then.
    pub async fn apply(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let result = apply_all(&mut self.connection, records).await;
        result.map_err(|error| self.failed(error))
    }
}

async fn apply_all(
    connection: &mut SqliteConnection,
    records: &[Record],
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    for record in records {
        for query in queries(record) {
            query.execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await
}

fn queries(record: &Record) -> Vec<Query> {
    match record {
        Record::Session { id, name, subject, expiry_secs, offline_since } => {
            let grants: &[Grant] = match subject {
                MessagingSubject::Device(_) => &[],
                MessagingSubject::Service { grants, .. } => grants,
            };
            vec![
                sqlx::query(
                    "INSERT INTO sessions (id, subject, client_id, grants, expiry_secs, offline_since)
                     VALUES ($1, $2, $3, $4, $5, $6)
                     ON CONFLICT (id) DO UPDATE SET grants = excluded.grants,
                         expiry_secs = excluded.expiry_secs, offline_since = excluded.offline_since",
                )
                .bind(signed(id.0))
                .bind(name.subject.to_string())
                .bind(name.client_id.to_string())
                .bind(json(&grants))
                .bind(i64::from(*expiry_secs))
                .bind(instant(*offline_since)),
            ]
        }
        Record::SessionGone { id } => [
            "DELETE FROM queue WHERE session = $1",
            "DELETE FROM taken WHERE session = $1",
            "DELETE FROM subscriptions WHERE session = $1",
            "DELETE FROM sessions WHERE id = $1",
        ]
        .into_iter()
        .map(|statement| sqlx::query(statement).bind(signed(id.0)))
        .collect(),
        Record::Subscribed { id, filter, subscription } => vec![
            sqlx::query(
                "INSERT INTO subscriptions
                     (session, filter, qos, no_local, retain_as_published, identifier)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (session, filter) DO UPDATE SET qos = excluded.qos,
                     no_local = excluded.no_local,
                     retain_as_published = excluded.retain_as_published,
                     identifier = excluded.identifier",
            )
            .bind(signed(id.0))
            .bind(filter.to_string())
            .bind(i64::from(subscription.qos.as_u8()))
            .bind(i64::from(subscription.no_local))
            .bind(i64::from(subscription.retain_as_published))
            .bind(subscription.id.map(i64::from)),
        ],
        Record::Unsubscribed { id, filter } => vec![
            sqlx::query("DELETE FROM subscriptions WHERE session = $1 AND filter = $2")
                .bind(signed(id.0))
                .bind(filter.to_string()),
        ],
        Record::Queued { id, sequence, message, qos, retain, subscription_ids } => vec![
            sqlx::query(
                "INSERT INTO queue (session, sequence, topic, payload, published_qos, properties,
                     expires_at, origin, qos, retain, subscription_ids, packet_id, released)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, NULL, 0)",
            )
            .bind(signed(id.0))
            .bind(signed(*sequence))
            .bind(message.topic.to_string())
            .bind(message.payload.to_vec())
            .bind(i64::from(message.qos.as_u8()))
            .bind(json(&message.properties))
            .bind(instant(message.expires_at))
            .bind(message.origin.to_string())
            .bind(i64::from(qos.as_u8()))
            .bind(i64::from(*retain))
            .bind(json(subscription_ids)),
        ],
        Record::UnderWay { id, sequence, packet_id, released } => vec![
            sqlx::query(
                "UPDATE queue SET packet_id = $3, released = $4 WHERE session = $1 AND sequence = $2",
            )
            .bind(signed(id.0))
            .bind(signed(*sequence))
            .bind(i64::from(*packet_id))
            .bind(i64::from(*released)),
        ],
        Record::Dequeued { id, sequence } => vec![
            sqlx::query("DELETE FROM queue WHERE session = $1 AND sequence = $2")
                .bind(signed(id.0))
                .bind(signed(*sequence)),
        ],
        Record::Taken { id, packet_id } => vec![
            sqlx::query(
                "INSERT INTO taken (session, packet_id) VALUES ($1, $2)
                 ON CONFLICT (session, packet_id) DO NOTHING",
            )
            .bind(signed(id.0))
            .bind(i64::from(*packet_id)),
        ],
        Record::TakenDone { id, packet_id } => vec![
            sqlx::query("DELETE FROM taken WHERE session = $1 AND packet_id = $2")
                .bind(signed(id.0))
                .bind(i64::from(*packet_id)),
        ],
        Record::Retained { message } => vec![retained(message)],
        Record::RetainedGone { topic } => vec![
            sqlx::query("DELETE FROM retained WHERE topic = $1").bind(topic.to_string()),
        ],
    }
}

fn retained(message: &Message) -> Query {
    sqlx::query(
        "INSERT INTO retained (topic, payload, qos, properties, expires_at, origin)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (topic) DO UPDATE SET payload = excluded.payload, qos = excluded.qos,
             properties = excluded.properties, expires_at = excluded.expires_at,
             origin = excluded.origin",
    )
    .bind(message.topic.to_string())
    .bind(message.payload.to_vec())
    .bind(i64::from(message.qos.as_u8()))
    .bind(json(&message.properties))
    .bind(instant(message.expires_at))
    .bind(message.origin.to_string())
}
