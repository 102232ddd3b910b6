//! Every table as it was at one moment, as lines of JSON, and a database made from such lines. The same for every
//! backend, and for tables that this file knows nothing of.
//!
//! ```text
//!  {"table":"subjects","row":{"kind":"thing","name":"plug-000001",…}}       text, whole numbers and null
//! ```

use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Column as _, Row as _, Transaction, TypeInfo as _, ValueRef as _};

use super::schema::{VERSIONS, migrate, migrate_to};
use super::{Place, Store, StoreError, Turn};

/// How far every counter jumps in a database that was restored: above whatever was given out after the backup was
/// made, at a thousand changes a second for 49 days.
pub(crate) const JUMP: i64 = 1 << 32;

/// One moment. Writers go on meanwhile.
pub(crate) struct Picture {
    transaction: Transaction<'static, Any>,
    store: Store,
    /// The schema's version.
    pub(crate) schema: i64,
    /// The number of the newest change.
    pub(crate) generation: u64,
}

impl Store {
    /// The present moment; exact while the caller holds the writers' turn.
    pub(crate) async fn picture(&self) -> Result<Picture, StoreError> {
        let failed = |error| self.failed(error);
        let mut transaction = self.pool.begin_with(self.place.picture()).await.map_err(failed)?;
        // The first look fixes the moment.
        let row = sqlx::query(
            "SELECT (SELECT MAX(version) FROM schema_version) AS version, value FROM counters WHERE name = 'generation'",
        );
        let row = row.fetch_one(&mut *transaction).await.map_err(failed)?;
        let (schema, generation) = (row.get("version"), super::unsigned(row.get("value")));
        Ok(Picture { transaction, store: self.clone(), schema, generation })
    }

    /// A new database from these lines, brought to the present schema; every counter has jumped, and it belongs to no
    /// ledger yet.
    pub(crate) async fn from_lines(
        place: Place,
        schema: i64,
        lines: &str,
    ) -> Result<Self, StoreError> {
        if schema > VERSIONS {
            return Err(StoreError::Newer { place, found: schema, known: VERSIONS });
        }
        let store = Self::connect(place).await?;
        let mut turn = store.exclusive().await?;
        let found = tables(turn.connection(), &store.place).await;
        if let Some(table) = found.map_err(|error| store.failed(error))?.first() {
            let detail = format!(
                "is not empty (it has a table {table}), and a backup is restored into an empty database only: make a new one"
            );
            return Err(StoreError::Address { place: store.place.clone(), detail });
        }
        migrate_to(&mut turn, schema).await?;
        // What migrations put there is in the lines, as it was at the time.
        for table in
            rows_of(turn.connection(), &store.place).await.map_err(|error| store.failed(error))?
        {
            turn.execute(format!("DELETE FROM {table}")).await?;
        }
        for line in lines.lines() {
            turn.insert(line).await?;
        }
        migrate(&mut turn).await?;
        turn.execute(format!("UPDATE counters SET value = value + {JUMP}")).await?;
        turn.execute("DELETE FROM belongs".to_owned()).await?;
        turn.commit().await?;
        Ok(store)
    }
}

impl Picture {
    /// Every row of every table, and how many there are.
    pub(crate) async fn lines(mut self) -> Result<(String, u64), StoreError> {
        let failed = |error| StoreError::from_sqlx(&self.store.place, error);
        let (mut lines, mut count) = (String::new(), 0);
        for table in rows_of(&mut self.transaction, &self.store.place).await.map_err(failed)? {
            let all = sqlx::AssertSqlSafe(format!("SELECT * FROM {table}"));
            let rows = sqlx::query(all).fetch_all(&mut *self.transaction).await.map_err(failed)?;
            for row in rows {
                let row = object(&row).ok_or_else(|| self.store.damaged_row())?;
                lines += &json!({"table": table, "row": row}).to_string();
                lines.push('\n');
                count += 1;
            }
        }
        Ok((lines, count))
    }
}

impl Turn {
    async fn execute(&mut self, statement: String) -> Result<(), StoreError> {
        let done = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(self.connection()).await;
        self.done(done).map(drop)
    }

    async fn insert(&mut self, line: &str) -> Result<(), StoreError> {
        let (table, row) = parse(line).ok_or_else(|| self.damaged("a line is no row"))?;
        // What is null is left out: PostgreSQL asks for its type.
        let (names, values): (Vec<_>, Vec<_>) = row
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.as_str(), value))
            .unzip();
        let places: Vec<_> = (1..=names.len()).map(|place| format!("${place}")).collect();
        let (names, places) = (names.join(", "), places.join(", "));
        let statement = format!("INSERT INTO {table} ({names}) VALUES ({places})");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
        for value in values {
            query = match value {
                Value::String(text) => query.bind(text.clone()),
                number => query.bind(number.as_i64()),
            };
        }
        let done = query.execute(self.connection()).await;
        self.done(done).map(drop)
    }
}

/// Table and row of a line; `None` for what [`Picture::lines`] does not write.
fn parse(line: &str) -> Option<(String, Map<String, Value>)> {
    let Value::Object(mut line) = serde_json::from_str(line).ok()? else { return None };
    let (Value::String(table), Value::Object(row)) = (line.remove("table")?, line.remove("row")?)
    else {
        return None;
    };
    let plain = |value: &Value| value.is_string() || value.is_i64() || value.is_null();
    let fits = is_name(&table) && row.keys().all(|name| is_name(name)) && row.values().all(plain);
    (fits && line.is_empty() && !row.is_empty()).then_some((table, row))
}

/// Names that stand in statements as they are.
fn is_name(name: &str) -> bool {
    let inner = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    inner && (1..=63).contains(&name.len()) && name != "schema_version"
}

async fn tables(connection: &mut AnyConnection, place: &Place) -> Result<Vec<String>, sqlx::Error> {
    let rows = sqlx::query(place.tables()).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

/// The tables that a picture has.
async fn rows_of(
    connection: &mut AnyConnection,
    place: &Place,
) -> Result<Vec<String>, sqlx::Error> {
    let mut tables = tables(connection, place).await?;
    tables.retain(|table| table != "schema_version");
    Ok(tables)
}

fn object(row: &AnyRow) -> Option<Map<String, Value>> {
    let mut object = Map::new();
    for column in row.columns() {
        let at = column.ordinal();
        let raw = row.try_get_raw(at).ok()?;
        let value = if raw.is_null() {
            Value::Null
        } else if matches!(raw.type_info().name(), "BIGINT" | "INTEGER") {
            json!(row.try_get::<i64, _>(at).ok()?)
        } else {
            json!(row.try_get::<String, _>(at).ok()?)
        };
        object.insert(column.name().to_owned(), value);
    }
    Some(object)
}
