//! Makes a data folder with the records of a fleet in it, to time `countersign policy dry-run` on.

#[path = "../fleet.rs"]
mod fleet;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_authority::Layout;
use countersign_gateway::store::Store;
use countersign_model::time::Timestamp;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;

type Failed = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let (Some(data), Some(count)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return Err("usage: fleet NEW_DATA_FOLDER NUMBER_OF_DEVICES".into());
    };
    let count: usize = count.parse()?;
    let layout = Layout::new(&data);
    std::fs::create_dir_all(data.join("gateway"))?;
    std::fs::create_dir_all(layout.authority())?;

    let millis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let (sightings, expected) = fleet::sightings(count, Timestamp(u64::try_from(millis)?));
    let (mut store, _) = Store::open(&data.join("gateway/gateway.db")).await?;
    store.note(&sightings).await?;
    store.close().await;

    // A tenth more is registered than was ever seen.
    let database = layout.database();
    drop(countersign_authority::store::Store::open(database.as_path().into()).await?);
    let options = SqliteConnectOptions::new().filename(&database);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await?;
    let mut transaction = connection.begin().await?;
    for index in 0..count + count / 10 {
        sqlx::query(
            "INSERT INTO subjects (kind, name, folded, state, grants, created_at, changed)
             VALUES ('thing', $1, $1, 'active', '[]', 0, $2)",
        )
        .bind(fleet::name(index))
        .bind(i64::try_from(index)? + 1)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    println!("{}: {count} devices seen; {expected:?}", data.display());
    Ok(())
}
