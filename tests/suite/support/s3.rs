//! An S3-compatible store of one's own for a test: s3s over HTTP, on a folder.

use std::net::SocketAddr;
use std::path::Path;

use habilis::store::BodyStoreLocation;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::runtime::Runtime;

const BUCKET: &str = "documents";

/// A store that answers until it is stopped.
pub struct ObjectStore {
    address: SocketAddr,
    folder: tempfile::TempDir,
    runtime: Option<Runtime>,
}

impl ObjectStore {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let (address, runtime) = serve(folder.path(), "127.0.0.1:0".parse().unwrap());
        Self { address, folder, runtime: Some(runtime) }
    }

    /// Where bodies lie, for a server.
    pub fn location(&self) -> BodyStoreLocation {
        BodyStoreLocation::S3 {
            bucket: BUCKET.to_owned(),
            region: "test".to_owned(),
            endpoint: Some(format!("http://{}", self.address)),
        }
    }

    /// The objects that are in it, as files.
    pub fn folder(&self) -> std::path::PathBuf {
        self.folder.path().join(BUCKET)
    }

    /// It goes away, connections and all.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }

    /// It comes back where it was.
    pub fn start_again(&mut self) {
        self.stop();
        self.runtime = Some(serve(self.folder.path(), self.address).1);
    }
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(folder: &Path, address: SocketAddr) -> (SocketAddr, Runtime) {
    let key = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| panic!("{name}: run the tests with ./scripts/test"))
    };
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    service.set_auth(SimpleAuth::from_single(key("AWS_ACCESS_KEY_ID"), key("AWS_SECRET_ACCESS_KEY")));
    let service = service.build();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let connection = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            let service = service.clone();
            tokio::spawn(async move {
                let _ = connection.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (address, runtime)
}
