//! The gateway: where devices and services connect. MQTT 3.1.1 and 5 over mutual TLS 1.3; who may say and hear what
//! follows from the certificate and the directory, for as long as the session lives.
//!
//! ```text
//!                       ┌──────────── server (tokio) ─────────────┐
//!  device ──TLS──► accept ─► connection ─► engine ─► broker (no I/O, no clock)
//!  service ─TLS──►   │                       │  ▲      decode · judge · route · queue
//!                    │        Directory ─────┘  │
//!                    │     admit, changed       └── store (SQLite): first stored, then acknowledged
//! ```
//!
//! - [`broker`] is the core: bytes, events and the present in; transmissions, records and closings out.
//! - [`server`] is the shell: sockets, limits, tasks. [`store`] is the disk. [`directory`] is the question who is who.
//! - [`policy`] keeps the crypto policies: one in force, older ones for whoever still holds them.
//! - [`home_assistant`] derives what Home Assistant is told, where that is switched on.
//! - [`revocation`] says what happens while the authority is not heard.
//! - [`clones`] notices one identity in two places at once.
//! - [`config`] has every key with its default.
//!
//! What the broker keeps or passes on, somebody was permitted to say: its flows demand the permits of
//! `countersign_protocol::permit::messaging`.
//!
//! ```no_run
//! use countersign_gateway::{config::GatewayConfig, directory::Directory, server::Gateway};
//! use countersign_crypto::tls::TlsServer;
//! use std::{path::Path, sync::Arc};
//!
//! async fn serve(tls: TlsServer, directory: Arc<dyn Directory>) -> Result<(), Box<dyn std::error::Error>> {
//!     let config = GatewayConfig { listen: "127.0.0.1:0".parse()?, ..GatewayConfig::default() };
//!     let gateway = Gateway::start(config, tls, directory, Path::new("gateway.db")).await?;
//!     println!("listening on {}", gateway.local_addr());
//!     gateway.shutdown().await;
//!     Ok(())
//! }
//! ```

pub mod broker;
pub mod clones;
pub mod config;
pub mod directory;
pub mod home_assistant;
pub mod policy;
pub mod revocation;
pub mod server;
pub mod store;
