//! HTTPS for `serve`: a listener that hands out connections whose handshake is done. Handshakes run beside each other, and
//! one that is never finished holds nobody up.

use crate::error::{Error, Kind, Result, ResultExt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Two round trips on the farthest link, and a slow phone's arithmetic.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Plain bytes of a TLS record. Nothing of one can be read before all of it is there: rustls's own 16 kB are six seconds of voice, and
/// four of a 2G link. Two packets' worth cost 0.8 % of headers.
pub const RECORD_BYTES: usize = 2_700;
/// Of its own header, which rustls counts in.
const RECORD_HEADER: usize = 5;
/// Connections whose handshake is done and that nobody has taken yet.
const WAITING: usize = 64;

/// A certificate chain and its key, PEM files both.
pub fn load(certificates: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>> {
    let read = |path: &Path| std::fs::read(path).doing(|| format!("cannot read {}", path.display()));
    let hint = "--tls-cert takes the certificate followed by its intermediates, --tls-key the private key, both as PEM";
    let bad = |path: &Path, e: String| Error::usage(format!("{} cannot be used for TLS", path.display())).caused_by(e).hint(hint);
    let chain: Vec<CertificateDer> =
        CertificateDer::pem_slice_iter(&read(certificates)?).collect::<Result<_, _>>().map_err(|e| bad(certificates, e.to_string()))?;
    if chain.is_empty() {
        return Err(bad(certificates, "it holds no certificate".into()));
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|e| bad(key, e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.kind(Kind::Bug, || "TLS without a version".into())?.with_no_client_auth();
    let mut config = config.with_single_cert(chain, secret).map_err(|e| bad(certificates, e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_fragment_size = Some(RECORD_BYTES + RECORD_HEADER);
    Ok(Arc::new(config))
}

/// See the module.
pub struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    local: std::io::Result<SocketAddr>,
}

impl TlsListener {
    pub fn new(tcp: TcpListener, config: Arc<rustls::ServerConfig>) -> TlsListener {
        let (sender, ready) = mpsc::channel(WAITING);
        let local = tcp.local_addr();
        let acceptor = TlsAcceptor::from(config);
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = sender.closed() => return,
                    accepted = tcp.accept() => accepted,
                };
                let (stream, from) = match accepted {
                    Ok(accepted) => accepted,
                    // Out of descriptors: those in use come back.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        continue;
                    }
                };
                let _ = stream.set_nodelay(true);
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        // Fails only when the server has ended.
                        let _ = sender.send((stream, from)).await;
                    }
                });
            }
        });
        TlsListener { ready, local }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task has ended, which it does only after us.
            None => std::future::pending().await,
        }
    }
    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        match &self.local {
            Ok(address) => Ok(*address),
            Err(e) => Err(std::io::Error::new(e.kind(), e.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_or_certificate_that_is_none_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(&cert, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        let config = load(&cert, &key).unwrap();
        assert_eq!(
            config.max_fragment_size,
            Some(RECORD_BYTES + 5),
            "a record is read when it is whole: large ones keep the voice waiting"
        );
        let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
        assert!(load(&cert, &key).unwrap_err().report().contains("c.pem"), "a key of another certificate");
        std::fs::write(&cert, "nothing").unwrap();
        assert!(load(&cert, &key).unwrap_err().report().contains("no certificate"));
        assert_eq!(load(&dir.path().join("gone"), &key).unwrap_err().kind(), Kind::NotFound);
    }
}
