//! A PostgreSQL server of the Debian package, in a folder of its own: TLS, a password, a free port.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Running, need, openssl};

const PASSWORD: &str = "s%crét/of?the#database";

pub(crate) struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Postgres {
    /// A server that runs, without a database of ours.
    pub(crate) fn new() -> Self {
        let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .expect("postgresql is not installed: `./test` installs what the tests need")
            .map(|entry| entry.unwrap().path().join("bin"))
            .collect();
        versions.sort();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let programs = versions.pop().expect("a version of postgresql");
        let server = Self { folder: TempDir::new().unwrap(), programs, port };
        server.set_up();
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn set_up(&self) {
        // 1. A certificate for localhost, and the password.
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let (key, crt) = (path("server.key"), path("server.crt"));
        let subject = [
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ];
        let made =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let files = ["-keyout", &key, "-out", &crt, "-days", "2"];
        openssl(&[&made[..], &files, &subject].concat(), b"");
        let password = self.password_file();
        fs::write(&password, PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        // 2. PostgreSQL does not run as root.
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if is_root() {
            let done = need("chown").arg("-R").arg("postgres").arg(self.folder.path()).status();
            assert!(done.unwrap().success());
        }
        // 3. The server.
        let pwfile = format!("--pwfile={}", password.display());
        let more = ["-U", "maker", "-A", "scram-sha-256", "-E", "UTF8", "--locale", "C", "-N"];
        self.run("initdb", &[&["-D", &path("data"), &pwfile], &more[..]].concat());
        // What reads the password for us is ourselves.
        if is_root() {
            assert!(need("chown").arg("root").arg(&password).status().unwrap().success());
        }
        self.start();
    }

    /// The file with the user's password.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.path("password")
    }

    /// The certificate that the server shows.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("server.crt")
    }

    pub(crate) fn start(&self) {
        let path = |name: &str| self.path(name).display().to_string();
        let settings = format!(
            "-c listen_addresses=127.0.0.1 -p {} -k {} -c ssl=on -c ssl_cert_file={} -c ssl_key_file={}",
            self.port,
            self.folder.path().display(),
            path("server.crt"),
            path("server.key"),
        );
        self.run(
            "pg_ctl",
            &["-D", &path("data"), "-o", &settings, "-l", &path("log"), "-w", "start"],
        );
    }

    /// Ends it as a crash does: nothing is flushed, every connection is cut.
    pub(crate) fn crash(&self) {
        self.run("pg_ctl", &["-D", self.path("data").to_str().unwrap(), "-m", "immediate", "stop"]);
    }

    /// A new database.
    pub(crate) fn create(&self, name: &str, collation: &str) {
        self.sql(
            "postgres",
            &format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE '{collation}'"
            ),
        );
    }

    /// What a statement says, as `psql` prints it.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        let mut psql = need("psql");
        psql.args(["-qXtA", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "maker"]);
        psql.args(["-p", &self.port.to_string(), "-d", database, "-c", statement]);
        let ended = Running::start(psql.env("PGPASSWORD", PASSWORD)).finish().with_code(0);
        ended.stdout.trim().to_owned()
    }

    /// The part of `config.toml` that names the database.
    pub(crate) fn config(&self, database: &str, certificate: &Path) -> String {
        format!(
            "[authority.database]\nurl = \"postgresql://maker@localhost:{}/{database}?sslmode=verify-full&sslrootcert={}\"\npassword_file = {:?}\n",
            self.port,
            certificate.display(),
            self.password_file(),
        )
    }

    fn run(&self, name: &str, arguments: &[&str]) {
        let file = self.programs.join(name);
        let mut command = Command::new(&file);
        if is_root() {
            command = need("runuser");
            command.args(["-u", "postgres", "--"]).arg(&file);
        }
        // The server outlives `pg_ctl`, and must not hold our pipes.
        let log = fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        command.args(arguments).current_dir(self.folder.path()).stdout(log.try_clone().unwrap());
        let status = command.stderr(log).status().unwrap();
        let said = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
        assert!(status.success(), "{name} {arguments:?}: {said}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() || self.path("data/postmaster.pid").exists() {
            let mut command = Command::new(self.programs.join("pg_ctl"));
            if is_root() {
                command = need("runuser");
                command.args(["-u", "postgres", "--"]).arg(self.programs.join("pg_ctl"));
            }
            let _ =
                command.arg("-D").arg(self.path("data")).args(["-m", "immediate", "stop"]).output();
        }
    }
}

fn is_root() -> bool {
    super::as_root().is_some()
}
