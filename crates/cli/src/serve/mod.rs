//! `countersign serve`: authority and gateway in one process on embedded storage.
//!
//! One function wires the program in start-up order; no listener answers before identity, policy and storage are ready,
//! and the ready file is written when every listener is bound.

mod clones;
mod directory;
mod keeper;
mod listeners;
mod policies;

use std::fs::File;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_authority::{Authority, AuthorityError, CeremonyOutcome, CeremonyPlan, Sources};
use countersign_crypto::certificate::certificates_from_pem;
use countersign_crypto::file;
use countersign_gateway::server::{Gateway, StartError};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::args::address;
use crate::config::{Listen, ServeConfig};
use crate::console::say;
use crate::failure::{Ended, Failure, Named as _};
use crate::spawn::asked_to_end;
use keeper::Keeper;
use listeners::{Listeners, Servers};
use policies::Policies;

/// The name of the platform's servers in their certificate.
const SERVER_NAME: &str = "gateway";

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The data folder; a new one gets its key ceremony first, from the example plan.
    #[arg(long)]
    data: PathBuf,
    /// Written as JSON when every listener is bound: addresses and the path of the roots.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// Where MQTT listens: host:port, :port, or :0 for any free one.
    #[arg(long, value_parser = address, value_name = "ADDR")]
    mqtt: Option<SocketAddr>,
    /// Where EST listens.
    #[arg(long, value_parser = address, value_name = "ADDR")]
    est: Option<SocketAddr>,
    /// Where administration listens.
    #[arg(long, value_parser = address, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Where revocation lists and OCSP are given without TLS; left out: nowhere.
    #[arg(long, value_parser = address, value_name = "ADDR")]
    status: Option<SocketAddr>,
    /// The configuration; left out: config.toml in the data folder, if there is one.
    #[arg(long)]
    config: Option<PathBuf>,
    /// End when standard input ends: for a parent that may be killed.
    #[arg(long, hide = true)]
    until_input_ends: bool,
}

/// What the ready file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) mqtt: SocketAddr,
    pub(crate) est: SocketAddr,
    pub(crate) admin: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) status: Option<SocketAddr>,
    pub(crate) roots: PathBuf,
}

pub(crate) async fn run(arguments: ServeArgs) -> Ended {
    // 1. What was asked, before anything is touched.
    let config = configure(&arguments)?;
    file::private_folder(&arguments.data).at(&arguments.data)?;
    let _alone = alone(&arguments.data)?;
    // 2. Keys, ledger, database; the ceremony where none was held.
    let authority =
        Authority::open(&arguments.data, config.authority.clone(), Sources::system()).await?;
    hold_ceremony(&authority).await?;
    check_roots(&authority)?;
    // 3. The policies: one in force, older ones for whoever still holds them.
    let folder = arguments.data.join("gateway");
    file::private_folder(&folder).at(&folder)?;
    let keeper = policies::open(&authority, &folder.join("policy")).await?;
    // 4. Identity and TLS.
    let servers = Servers::make(&authority, &config).await?;
    let (mqtt_tls, est_tls, admin_tls) = servers.tls(&keeper)?;
    // 5. Listeners; a port in use is known before anybody is served.
    let est = bind("est", config.est.listen).await?;
    let admin = bind("admin", config.admin.listen).await?;
    let metrics = match &config.metrics {
        Some(metrics) => Some(bind("metrics", metrics.listen).await?),
        None => None,
    };
    let status = match &config.status {
        Some(status) => Some(bind("status", status.listen).await?),
        None => None,
    };
    let registry = Arc::new(directory::Registry(authority.registry()));
    let database = folder.join("gateway.db");
    let gateway =
        Gateway::start_under(keeper.clone(), config.gateway.clone(), mqtt_tls, registry, &database)
            .await
            .map_err(not_started)?;
    let ready = Ready {
        mqtt: gateway.local_addr(),
        est: est.local_addr()?,
        admin: admin.local_addr()?,
        metrics: metrics.as_ref().map(TcpListener::local_addr).transpose()?,
        status: status.as_ref().map(TcpListener::local_addr).transpose()?,
        roots: std::path::absolute(authority.layout().roots())?,
    };
    // 6. Enrolment and administration.
    let (stop, stopped) = watch::channel(());
    let ended = |mut stopped: watch::Receiver<()>| async move {
        let _ = stopped.changed().await;
    };
    let stopped_metrics = stopped.clone();
    let (est_tls, est_server) = watch::channel(est_tls);
    let (admin_tls, admin_server) = watch::channel(admin_tls);
    let est = tokio::spawn(countersign_authority::serve(
        est,
        est_server,
        authority.est_router(),
        ended(stopped.clone()),
    ));
    let admin = tokio::spawn(countersign_authority::serve(
        admin,
        admin_server,
        authority.admin_router(),
        ended(stopped.clone()),
    ));
    let metrics = metrics.map(|listener| {
        let authority = authority.clone();
        tokio::spawn(countersign_authority::expiry::metrics::serve(
            listener,
            authority,
            ended(stopped_metrics),
        ))
    });
    let status = status.map(|listener| {
        let (router, stop) = (authority.status_router(), ended(stopped));
        tokio::spawn(countersign_authority::serve_plain(listener, router, stop))
    });
    // 7. Say so; who reads it may ask us to end at once.
    let asked = asked_to_end(arguments.until_input_ends);
    announce(&arguments, &ready)?;
    let listeners = Arc::new(Listeners::new(keeper, servers, est_tls, admin_tls));
    let certificates = Keeper {
        authority: authority.clone(),
        config,
        listeners: listeners.clone(),
        alarms: Default::default(),
    };
    let policies = Policies { authority: &authority, listeners, gateway: &gateway };
    tokio::select! {
        () = asked => {}
        () = certificates.keep(&gateway) => {}
        () = policies.follow() => {}
        () = clones::follow(&authority, &gateway) => {}
    }
    // 8. End in order: no new work, then the sessions, then the file that says we are here.
    drop(stop);
    let _ = tokio::join!(est, admin);
    if let Some(metrics) = metrics {
        let _ = metrics.await;
    }
    if let Some(status) = status {
        let _ = status.await;
    }
    gateway.shutdown().await;
    authority.close().await;
    if let Some(path) = &arguments.ready_file {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

fn configure(arguments: &ServeArgs) -> Ended<ServeConfig> {
    let mut config = ServeConfig::read(arguments.config.as_deref(), &arguments.data)?;
    for (flag, place) in [
        (arguments.mqtt, &mut config.gateway.listen),
        (arguments.est, &mut config.est.listen),
        (arguments.admin, &mut config.admin.listen),
    ] {
        if let Some(address) = flag {
            *place = address;
        }
    }
    if let Some(address) = arguments.status {
        config.status = Some(Listen { listen: address });
    }
    Ok(config)
}

/// One `serve` a data folder: two would write one gateway's sessions.
fn alone(data: &Path) -> Ended<File> {
    let path = data.join("serve.lock");
    let lock = File::options().create(true).truncate(false).write(true).open(&path).at(&path)?;
    lock.try_lock().map_err(|_| {
        Failure::environment(format!(
            "{}: another `countersign serve` runs on this folder: end it, or name another --data",
            path.display()
        ))
    })?;
    Ok(lock)
}

async fn hold_ceremony(authority: &Authority) -> Ended {
    match authority.authorities() {
        Ok(_) => return Ok(()),
        Err(AuthorityError::NoCeremony(_)) => {}
        Err(damaged) => return Err(damaged.into()),
    }
    say("No ceremony was held in this folder; holding one from the example plan.");
    let outcome =
        authority.ceremony(&CeremonyPlan::example(), |_| ControlFlow::Continue(())).await?;
    say("No custodians: whoever can use this folder can use the root.");
    if let CeremonyOutcome::Stopped(step) = outcome {
        return Err(Failure::environment(format!("the ceremony stopped before {step}; run again")));
    }
    Ok(())
}

/// The file that clients are told to trust must hold the root that vouches for us; it is written anew where it is missing.
fn check_roots(authority: &Authority) -> Ended {
    let path = authority.layout().roots();
    let authorities = authority.authorities()?;
    let root = authorities.root();
    let of_devices = (authority.layout().device_roots(), authorities.device_roots_pem());
    if !std::fs::read(&of_devices.0).is_ok_and(|there| there == of_devices.1.as_bytes()) {
        file::write_atomic(&of_devices.0, of_devices.1.as_bytes(), file::PUBLIC)
            .at(&of_devices.0)?;
    }
    match std::fs::read(&path) {
        Ok(pem) if certificates_from_pem(&pem).is_ok_and(|all| all.contains(root)) => Ok(()),
        Ok(_) => Err(Failure::environment(format!(
            "{}: does not hold the root of this folder's ceremony: remove it, and the next start writes it anew",
            path.display()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            file::write_atomic(&path, authorities.roots_pem().as_bytes(), file::PUBLIC).at(&path)
        }
        Err(error) => Err(error).at(&path),
    }
}

async fn bind(what: &str, address: SocketAddr) -> Ended<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| not_bound(what, address, &error))
}

fn not_started(error: StartError) -> Failure {
    match error {
        StartError::Listen { address, source } => not_bound("mqtt", address, &source),
        other => other.into(),
    }
}

fn not_bound(what: &str, address: SocketAddr, error: &std::io::Error) -> Failure {
    let mend = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("another program listens there: end it, or give --{what} :0 for any free port")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address".to_owned()
        }
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege".to_owned(),
        _ => error.to_string(),
    };
    Failure::environment(format!("--{what} {address}: {mend}"))
}

//= specs/house.md#house-shell
//# A ready file MUST be written only when every listener is bound.
fn announce(arguments: &ServeArgs, ready: &Ready) -> Ended {
    if let Some(path) = &arguments.ready_file {
        let text = serde_json::to_vec_pretty(ready)?;
        file::write_atomic(path, &text, file::PUBLIC).at(path)?;
    }
    say(&format!("mqtt   {}", ready.mqtt));
    say(&format!("est    https://{}/.well-known/est/", ready.est));
    say(&format!("admin  https://{}/", ready.admin));
    if let Some(metrics) = ready.metrics {
        say(&format!("metrics http://{metrics}/metrics"));
    }
    if let Some(status) = ready.status {
        say(&format!("status http://{status}/crl/ and /ocsp"));
    }
    say(&format!("roots  {}", ready.roots.display()));
    Ok(())
}
