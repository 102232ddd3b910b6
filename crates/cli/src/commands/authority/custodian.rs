//! `authority custodian`: somebody who holds the root together with others makes their own key, on their own machine.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use countersign_crypto::custody::CustodianKey;
use countersign_crypto::digest::sha256;
use countersign_crypto::file;
use countersign_crypto::keystore::{Keystore, Token, TokenConfig};
use countersign_crypto::random::SystemRandom;
use countersign_crypto::secret::{Secret, Strength};
use countersign_model::id::OperatorName;
use countersign_protocol::hex;

use crate::console::say;
use crate::failure::{Ended, Failure, Named as _};

#[derive(Debug, Subcommand)]
pub(crate) enum CustodianCommand {
    /// Make a key under a passphrase, and print the lines for the ceremony's plan.
    #[command(
        after_help = "Examples:\n  countersign authority custodian new --name alice --out alice.key\n  countersign authority custodian new --name alice --out alice.key \\\n      --module /usr/lib/softhsm/libsofthsm2.so --token alice --pin-file alice.pin"
    )]
    New {
        /// Who it is for, as the plan will name them.
        #[arg(long)]
        name: OperatorName,
        /// The key file; it is not overwritten.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        unlock: UnlockArgs,
    },
}

/// What opens a custodian's key.
#[derive(Debug, clap::Args)]
pub(crate) struct UnlockArgs {
    /// A file with the passphrase on its first line, for machines; left out: it is asked for.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The PKCS#11 module of a token that holds the signing half.
    #[arg(long, requires_all = ["token", "pin_file"])]
    module: Option<PathBuf>,
    /// That token's label.
    #[arg(long, requires = "module")]
    token: Option<String>,
    /// A file with its user PIN; mode 0600.
    #[arg(long, requires = "module")]
    pin_file: Option<PathBuf>,
}

impl UnlockArgs {
    fn keystore(&self) -> Ended<Option<Keystore>> {
        let (Some(module), Some(token), Some(pin)) = (&self.module, &self.token, &self.pin_file)
        else {
            return Ok(None);
        };
        let config = TokenConfig::new(module.clone(), token.clone(), pin.clone(), String::new())
            .named("--token")?;
        Ok(Some(Keystore::in_token(Token::open(&config)?)))
    }

    fn passphrase(&self, twice: bool) -> Ended<Secret> {
        let ask = |prompt: &str| {
            rpassword::prompt_password(prompt).map_err(|error| {
                Failure::environment(format!(
                    "the passphrase could not be asked for ({error}): give it with --passphrase-file FILE"
                ))
            })
        };
        let text = match &self.passphrase_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).at(path)?;
                text.lines().next().unwrap_or_default().to_owned()
            }
            None => {
                let text = ask("Passphrase: ")?;
                if twice && ask("Once more: ")? != text {
                    return Err(Failure::environment("the two passphrases differ: try again"));
                }
                text
            }
        };
        Ok(Secret::new(text.into_bytes(), Strength(0)))
    }

    /// Opens a custodian's key.
    pub(crate) fn open(&self, path: &Path) -> Ended<CustodianKey> {
        let bytes = std::fs::read(path).at(path)?;
        let (passphrase, token) = (self.passphrase(false)?, self.keystore()?);
        CustodianKey::from_file(&bytes, &passphrase, token.as_ref()).at(path)
    }
}

pub(crate) fn run(command: CustodianCommand) -> Ended {
    let CustodianCommand::New { name, out, unlock } = command;
    if out.exists() {
        return Err(Failure::environment(format!(
            "{}: exists already and is not overwritten: name another file",
            out.display()
        )));
    }
    let passphrase = unlock.passphrase(true)?;
    let key = match unlock.keystore()? {
        Some(token) => {
            CustodianKey::generate_in_token(name.as_str(), &token, &format!("custodian-{name}"))?
        }
        None => CustodianKey::generate(name.as_str())?,
    };
    let bytes = key.to_file(&passphrase, &mut SystemRandom)?;
    file::create_new(&out, &bytes, file::PRIVATE).at(&out)?;
    let print = hex::write(&sha256(key.signing().spki_der()));
    say(&format!("# {}: the key stays with you. These lines go into the plan:", out.display()));
    say(&format!("# fingerprint {print}"));
    say("[[custodian]]");
    say(&format!("name = \"{name}\""));
    say(&format!("key = \"{}\"", STANDARD.encode(key.signing().spki_der())));
    say(&format!("share_key = \"{}\"", STANDARD.encode(key.wrap().public().as_bytes())));
    Ok(())
}
