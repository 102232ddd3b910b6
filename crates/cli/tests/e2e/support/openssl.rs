//! OpenSSL and curl: keys, requests, certificates and EST as somebody without our code makes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::feed;
use super::{Authority, Finished, Identity, Running, need};

/// `openssl ARGUMENTS…` with this on its standard input; what it wrote.
#[track_caller]
pub(crate) fn openssl(arguments: &[&str], input: &[u8]) -> String {
    feed(need("openssl").args(arguments), input).with_code(0).stdout
}

/// `openssl s_client` at this address. Its standard input stays open until it is finished.
pub(crate) fn s_client(
    address: &str,
    roots: &Path,
    who: Option<&Identity>,
    more: &[&str],
) -> Command {
    let mut command = need("openssl");
    command.args(["s_client", "-connect", address, "-verify_return_error", "-CAfile"]).arg(roots);
    if let Some(who) = who {
        // The leaf and the issuing authority behind it, as ordinary clients send them.
        command
            .arg("-cert")
            .arg(&who.crt)
            .arg("-cert_chain")
            .arg(&who.crt)
            .arg("-key")
            .arg(&who.key);
    }
    command.args(more);
    command
}

/// A key that OpenSSL made.
pub(crate) struct Key {
    pub(crate) file: PathBuf,
    digest: &'static str,
}

impl Key {
    /// On P-256.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let file = folder.join(format!("{name}.key"));
        let path = file.to_str().unwrap();
        openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path], b"");
        Self::of(file)
    }

    /// On P-384.
    pub(crate) fn p384(folder: &Path, name: &str) -> Self {
        let file = folder.join(format!("{name}.key"));
        let path = file.to_str().unwrap();
        openssl(&["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", path], b"");
        Self { file, digest: "-sha384" }
    }

    /// One on P-256 that is there.
    pub(crate) fn of(file: PathBuf) -> Self {
        Self { file, digest: "-sha256" }
    }

    /// A certification request for this common name, in base64 as EST wants it.
    pub(crate) fn request(&self, common_name: &str) -> String {
        let (key, subject) = (self.file.to_str().unwrap(), format!("/CN={common_name}"));
        let pem = openssl(&["req", "-new", "-key", key, "-subj", &subject, self.digest], b"");
        pem.lines().filter(|line| !line.starts_with("-----")).collect()
    }
}

/// The subjects, issuers and PEM of the certificates in an EST reply, as OpenSSL prints them.
#[track_caller]
pub(crate) fn certificates_in(body: &str, folder: &Path) -> String {
    let der = folder.join("reply.p7");
    let path = der.to_str().unwrap();
    openssl(&["base64", "-d", "-A", "-out", path], body.as_bytes());
    openssl(&["pkcs7", "-inform", "DER", "-in", path, "-print_certs"], b"")
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
    }
}

/// `curl` at EST: the answer, or how the connection ended.
pub(crate) fn curl(
    authority: &Authority,
    address: &str,
    who: Option<&Identity>,
    operation: &str,
    body: Option<&str>,
) -> Result<Answer, Finished> {
    let mut command = need("curl");
    command.args(["-sS", "-i", "--max-time", "20", "--cacert"]).arg(authority.roots());
    if let Some(who) = who {
        command.arg("--cert").arg(&who.crt).arg("--key").arg(&who.key);
    }
    if body.is_some() {
        command.args([
            "-H",
            "Content-Type: application/pkcs10",
            "-H",
            "Content-Transfer-Encoding: base64",
        ]);
        // No announcement: a refusal would come before the body is sent, and curl would stop there.
        command.args(["-H", "Expect:", "--data-binary", "@-"]);
    }
    command.arg(format!("https://{address}/.well-known/est/{operation}"));
    let mut running = Running::start(&mut command);
    let mut input = running.input();
    // A server that closes early is a server that has answered.
    let _ = std::io::Write::write_all(&mut input, body.unwrap_or_default().as_bytes());
    drop(input);
    let ended = running.finish();
    let (head, body) = match ended.stdout.split_once("\r\n\r\n") {
        Some((head, body)) => (head.to_owned(), body.to_owned()),
        None => return Err(ended),
    };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.expect("an HTTP status"), head, body })
}
