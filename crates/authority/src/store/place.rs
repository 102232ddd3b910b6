//! Where the database is: a file of its own, or a PostgreSQL server.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Row as _};

use super::StoreError;

/// How long a writer waits for another process's turn to end. One turn is a signature and three disk syncs.
pub(super) const BUSY: Duration = Duration::from_secs(20);

/// How long a server that does not answer is looked for, again and again; in between, a fifth of it passes at most. Whoever waits
/// for the one before waits for it after that.
const SERVER: Duration = Duration::from_secs(5);

/// Of the file, in memory, for each connection: indexes over random serials and keys are touched all over, so that SQLite's
/// own 2 MiB are read and written again and again.
const CACHE_KIB: u32 = 16 << 10;

/// Pages of 4 KiB in SQLite's journal before they are written back into the file: 32 MiB. With its own thousand that is every
/// second turn of a group, and each turn writes much the same pages. A start after a crash reads so much.
const JOURNAL_PAGES: u32 = 8 << 10;

/// Connections per process: one writes, the others read.
const CONNECTIONS: u32 = 4;

/// The number that writers of one PostgreSQL database take turns by: "countersign" as PostgreSQL's advisory locks count.
const TURN: i64 = 0x636f_756e_7465_7273;

/// The longest address, in bytes.
const MAX_URL: usize = 1000;

/// A PostgreSQL database, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawDatabase")]
pub struct DatabaseConfig {
    url: String,
    password_file: Option<PathBuf>,
    /// Without a password, for messages.
    shown: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDatabase {
    url: String,
    password_file: Option<PathBuf>,
}

impl TryFrom<RawDatabase> for DatabaseConfig {
    type Error = String;
    fn try_from(raw: RawDatabase) -> Result<Self, String> {
        Self::new(raw.url, raw.password_file)
    }
}

impl DatabaseConfig {
    /// Checks what a program names; the same rules as for a file.
    ///
    /// # Errors
    /// The field, and what to write instead.
    pub fn new(url: String, password_file: Option<PathBuf>) -> Result<Self, String> {
        const EXAMPLE: &str = "postgresql://USER@HOST/DATABASE?sslmode=verify-full";
        // The address itself is not repeated: somebody may have put a password into it.
        let scheme = url.starts_with("postgresql://") || url.starts_with("postgres://");
        if !scheme || url.len() > MAX_URL || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("url: {EXAMPLE} is expected, of at most {MAX_URL} characters"));
        }
        let address = AnyConnectOptions::from_str(&url)
            .map_err(|_| format!("url: is no address: {EXAMPLE} is expected"))?;
        if address.database_url.password().is_some() || url.contains("password=") {
            return Err(
                "url: holds a password, where every reader of this file sees it: put it into a file of mode 0600 and name that as password_file"
                    .to_owned(),
            );
        }
        let options = PgConnectOptions::from_str(&url).map_err(|error| format!("url: {error}"))?;
        let Some(database) = options.get_database() else {
            return Err(format!("url: names no database: {EXAMPLE} is expected"));
        };
        //= specs/house.md#house-database
        //# A database on another machine MUST be reached over TLS with the server's name verified.
        if !is_local(&options) && !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
            return Err(format!(
                "url: the database is on another machine ({}): add sslmode=verify-full, and sslrootcert=FILE where its certificate is your own CA's",
                options.get_host()
            ));
        }
        let place = options.get_socket().map_or_else(
            || format!("{}:{}", options.get_host(), options.get_port()),
            |folder| folder.display().to_string(),
        );
        let shown = format!("postgresql database {database} at {place}");
        Ok(Self { url, password_file, shown })
    }

    /// Where to connect, with the password if there is a file for it.
    fn address(&self) -> Result<AnyConnectOptions, String> {
        let mut address =
            AnyConnectOptions::from_str(&self.url).map_err(|error| error.to_string())?;
        if let Some(file) = &self.password_file {
            let password = password(file)?;
            address
                .database_url
                .set_password(Some(&password.replace('%', "%25")))
                .map_err(|()| "the address takes no password: it names no host".to_owned())?;
        }
        Ok(address.disable_statement_logging())
    }
}

/// Whether nobody on a network can listen.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let loopback = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    options.get_socket().is_some() || host == "localhost" || loopback
}

fn password(file: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("password_file {}: {error}", file.display());
    let mode = fs::metadata(file).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "password_file {}: others may read it (mode {:04o}): say chmod 600 {0}",
            file.display(),
            mode & 0o7777,
        ));
    }
    let text = fs::read_to_string(file).map_err(failed)?;
    let first = text.lines().next().unwrap_or_default();
    if first.is_empty() {
        return Err(format!("password_file {}: its first line is empty", file.display()));
    }
    Ok(first.to_owned())
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// SQLite, in a file.
    File(Arc<Path>),
    /// PostgreSQL.
    Server(Arc<DatabaseConfig>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server(server) => f.write_str(&server.shown),
        }
    }
}

impl Place {
    /// A file, unless the configuration names a server.
    #[must_use]
    pub fn of(file: &Path, server: Option<&DatabaseConfig>) -> Self {
        server.map_or_else(|| file.into(), |server| Self::Server(Arc::new(server.clone())))
    }

    /// What to do about damage.
    pub(super) const fn mend_damage(&self) -> &'static str {
        match self {
            Self::File(_) => {
                "stop, move it aside together with its -wal and -shm files, and restore all three from a backup; ledger.log beside it tells what was issued since"
            }
            Self::Server(_) => {
                "stop, and restore it from a backup into an empty database; the ledger tells what was issued since"
            }
        }
    }

    /// What to do when it cannot be used.
    pub(super) const fn mend_absence(&self) -> &'static str {
        match self {
            Self::File(_) => {
                "free space, mend the permissions or end the process that holds it, then try again"
            }
            Self::Server(_) => {
                "see that the server runs, has space and admits this user to this database, then try again"
            }
        }
    }

    /// One connection that only reads; what reads a file without touching it has a way of its own.
    pub(super) async fn read_only(&self) -> Result<AnyPool, StoreError> {
        sqlx::any::install_default_drivers();
        let options = AnyPoolOptions::new().max_connections(1).acquire_timeout(SERVER);
        let options = prepared(options, "SET default_transaction_read_only = on".to_owned());
        let pool = options.connect_with(self.address()?).await;
        pool.map_err(|error| StoreError::from_sqlx(self, error))
    }

    /// Connections, each set so that what is committed is durable. `check`: a file is read through first.
    pub(super) async fn connect(&self, check: bool) -> Result<AnyPool, StoreError> {
        sqlx::any::install_default_drivers();
        let failed = |error| StoreError::from_sqlx(self, error);
        let settings = match self {
            Self::File(_) => format!(
                "PRAGMA busy_timeout = {}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 PRAGMA foreign_keys = ON; PRAGMA cache_size = -{CACHE_KIB};
                 PRAGMA wal_autocheckpoint = {JOURNAL_PAGES}",
                BUSY.as_millis()
            ),
            // A lock of a machine that is gone is given up after half a minute, not after hours.
            Self::Server(_) => format!(
                "SET synchronous_commit = on; SET lock_timeout = {};
                 SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3",
                BUSY.as_millis()
            ),
        };
        let address = self.address()?;
        // A pool tries again and again, and says in the end that it waited: the first connection tells what is wrong.
        let first = async {
            let mut one = AnyConnection::connect_with(&address).await?;
            set(&mut one, &settings).await?;
            let said = match self {
                Self::File(_) if check => check_file(&mut one).await?,
                Self::File(_) => None,
                Self::Server(_) => check_server(&mut one).await?,
            };
            one.close().await?;
            Ok(said)
        };
        match (first.await.map_err(failed)?, self) {
            (Some(detail), Self::File(_)) => {
                return Err(StoreError::Corrupt { place: self.clone(), detail });
            }
            (Some(detail), Self::Server(_)) => {
                return Err(StoreError::Address { place: self.clone(), detail });
            }
            (None, _) => {}
        }
        let options =
            AnyPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(match self {
                Self::File(_) => BUSY,
                Self::Server(_) => SERVER,
            });
        prepared(options, settings).connect_with(address).await.map_err(failed)
    }

    /// Empties a database that was made a moment ago and will not be used; a file goes with its folder.
    pub(crate) async fn discard(&self) {
        let Self::Server(_) = self else { return };
        let emptied = async {
            let pool = self.connect(false).await?;
            let failed = |error| StoreError::from_sqlx(self, error);
            for row in sqlx::query(self.tables()).fetch_all(&pool).await.map_err(failed)? {
                let drop = format!("DROP TABLE {}", row.get::<String, _>("name"));
                sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&pool).await.map_err(failed)?;
            }
            pool.close().await;
            Ok::<_, StoreError>(())
        };
        if let Err(error) = emptied.await {
            tracing::warn!(%error, "the database keeps what was not used: drop it");
        }
    }

    fn address(&self) -> Result<AnyConnectOptions, StoreError> {
        match self {
            Self::File(path) => of_file(path).map_err(|error| StoreError::from_sqlx(self, error)),
            Self::Server(server) => server
                .address()
                .map_err(|detail| StoreError::Address { place: self.clone(), detail }),
        }
    }

    /// How a writer's turn begins, and what it waits for then.
    pub(super) const fn turn(&self) -> (&'static str, Option<i64>) {
        match self {
            Self::File(_) => ("BEGIN IMMEDIATE", None),
            Self::Server(_) => ("BEGIN", Some(TURN)),
        }
    }

    /// How the parameters of a row, or of a list, stand in a statement with very many: `(?, ?)` or `($3, $4)`. SQLite takes
    /// numbers too, but then looks each of them up in a list of all: more work than the rows are.
    pub(super) fn parameters(&self, first: usize, count: usize, into: &mut String) {
        into.push('(');
        for number in first..first + count {
            if number > first {
                into.push_str(", ");
            }
            match self {
                Self::File(_) => into.push('?'),
                Self::Server(_) => into.extend(["$", &number.to_string()]),
            }
        }
        into.push(')');
    }

    /// A statement that gives the rows of another one as one text `page`: a JSON array of arrays of these columns.
    pub(super) fn as_one_text(&self, columns: &str, rows: &str) -> String {
        match self {
            Self::File(_) => {
                format!("SELECT json_group_array(json_array({columns})) AS page FROM ({rows})")
            }
            Self::Server(_) => format!(
                "SELECT COALESCE(CAST(json_agg(json_build_array({columns})) AS TEXT), '[]') AS page FROM ({rows}) AS found"
            ),
        }
    }

    /// How a look at one moment begins.
    pub(super) const fn picture(&self) -> &'static str {
        match self {
            Self::File(_) => "BEGIN",
            Self::Server(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// The names of all tables.
    pub(super) const fn tables(&self) -> &'static str {
        match self {
            Self::File(_) => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
            }
            Self::Server(_) => {
                "SELECT CAST(table_name AS TEXT) AS name FROM information_schema.tables
                 WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY name"
            }
        }
    }

    /// Whether the database says that it is damaged.
    pub(super) fn is_damage(&self, error: &sqlx::Error) -> bool {
        let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
            return false;
        };
        match self {
            // SQLITE_CORRUPT is 11 and SQLITE_NOTADB is 26, in the low octet of extended codes.
            Self::File(_) => code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 11 | 26)),
            // Class XX: data_corrupted and index_corrupted.
            Self::Server(_) => matches!(&*code, "XX001" | "XX002"),
        }
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::File(path.into())
    }
}

/// Connections that begin with these settings.
fn prepared(options: AnyPoolOptions, settings: String) -> AnyPoolOptions {
    let settings: Arc<str> = settings.into();
    options.after_connect(move |connection, _| {
        let settings = Arc::clone(&settings);
        Box::pin(async move { set(connection, &settings).await })
    })
}

async fn set(connection: &mut AnyConnection, settings: &str) -> Result<(), sqlx::Error> {
    for setting in settings.split(';') {
        let setting = sqlx::AssertSqlSafe(setting.trim().to_owned());
        sqlx::query(setting).execute(&mut *connection).await?;
    }
    Ok(())
}

/// The file's address: percent-encoded, since `?`, `#` and `%` mean something in it, and without `..`, which the address
/// would take away without looking at links.
fn of_file(path: &Path) -> Result<AnyConnectOptions, sqlx::Error> {
    let name =
        path.file_name().ok_or_else(|| sqlx::Error::Io(std::io::ErrorKind::NotFound.into()))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let path =
        fs::canonicalize(folder.unwrap_or(Path::new("."))).map_err(sqlx::Error::Io)?.join(name);
    let mut url = "sqlite://".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url += &format!("%{byte:02X}");
        }
    }
    url += "?mode=rwc";
    Ok(AnyConnectOptions::from_str(&url)?.disable_statement_logging())
}

async fn check_file(one: &mut AnyConnection) -> Result<Option<String>, sqlx::Error> {
    let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(one).await?;
    let verdict: String = row.get(0);
    Ok((verdict != "ok").then_some(verdict))
}

//= specs/house.md#house-database
//# A database server that does not keep what it has committed MUST be refused.
async fn check_server(one: &mut AnyConnection) -> Result<Option<String>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages,
            current_setting('server_version_num') AS version, pg_is_in_recovery() AS standby,
            CAST(pg_encoding_to_char(encoding) AS TEXT) AS encoding, CAST(datcollate AS TEXT) AS collation
         FROM pg_database WHERE datname = current_database()",
    );
    let row = row.fetch_one(one).await?;
    let word = |name: &str| -> String { row.get(name) };
    let collation = word("collation");
    let said = if word("fsync") != "on" || word("pages") != "on" {
        "the server may forget what it has committed: set fsync and full_page_writes to on"
            .to_owned()
    } else if word("version").parse::<u32>().unwrap_or_default() < 130_000 {
        "the server is older than PostgreSQL 13: use a version that is maintained".to_owned()
    } else if row.get("standby") {
        "this is a standby, which only reads: name the primary".to_owned()
    } else if word("encoding") != "UTF8" {
        format!("its encoding is {}: {CREATE}", word("encoding"))
    } else if !["C", "POSIX", "C.UTF-8", "C.utf8"].contains(&collation.as_str()) {
        format!(
            "it sorts as {collation}, and certificates' serial numbers are sorted by bytes: {CREATE}"
        )
    } else {
        return Ok(None);
    };
    Ok(Some(said))
}

/// How a fitting database is made.
const CREATE: &str = "make one by createdb --template template0 --encoding UTF8 --locale C NAME";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        DatabaseConfig::new(url.to_owned(), None).unwrap_err()
    }

    //= specs/house.md#house-database
    //= type=test
    //# A database on another machine MUST be reached over TLS with the server's name verified.
    #[test]
    fn a_server_elsewhere_needs_a_verified_name() {
        for elsewhere in ["db.example", "10.0.0.7", "[2001:db8::1]"] {
            for mode in ["", "?sslmode=prefer", "?sslmode=require", "?sslmode=verify-ca"] {
                let said = refused(&format!("postgresql://maker@{elsewhere}/countersign{mode}"));
                assert!(said.contains("sslmode=verify-full"), "{said}");
            }
            let url = format!("postgresql://maker@{elsewhere}/countersign?sslmode=verify-full");
            DatabaseConfig::new(url, None).unwrap();
        }
        for here in ["localhost", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
            DatabaseConfig::new(format!("postgres://maker@{here}/countersign"), None).unwrap();
        }
    }

    #[test]
    fn an_address_is_refused_with_the_mend_and_never_shows_a_password() {
        for (url, expected) in [
            ("mysql://x/y", "postgresql://"),
            ("postgresql://localhost", "names no database"),
            ("postgresql://maker:hunter2@localhost/countersign", "password_file"),
            ("postgresql://localhost/countersign?password=hunter2", "password_file"),
            ("postgresql://local host/x", "is expected"),
        ] {
            let said = refused(url);
            assert!(said.contains(expected) && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_password_is_read_from_a_file_that_nobody_else_reads() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "p@ss/word?#%\n").unwrap();
        let config =
            DatabaseConfig::new("postgres://maker@localhost/x".to_owned(), Some(file.clone()))
                .unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let said = config.address().unwrap_err();
        assert!(said.contains("chmod 600") && said.contains("0640"), "{said}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let address = config.address().unwrap();
        assert_eq!(address.database_url.password(), Some("p%40ss%2Fword%3F%23%25"));
        assert_eq!(
            Place::Server(Arc::new(config)).to_string(),
            "postgresql database x at localhost:5432"
        );
    }

    #[tokio::test]
    async fn a_file_may_have_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a b?c#d%20e");
        fs::create_dir(&odd).unwrap();
        let place = Place::from(odd.join("../a b?c#d%20e/x.db").as_path());
        place.connect(true).await.unwrap().close().await;
        assert!(odd.join("x.db").exists());
    }
}
