//! What the server is held against: axum that reads the bodies whole and answers the same ones, and no more.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
    serve::ListenerExt as _,
};
use http_body_util::BodyExt as _;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Keeps what was posted to a path and answers it. Nothing is locked.
pub(crate) fn echo() -> Router {
    let kept: Arc<Mutex<HashMap<String, Bytes>>> = Arc::default();
    Router::new().fallback(echo_one).with_state(kept)
}

async fn echo_one(State(kept): State<Arc<Mutex<HashMap<String, Bytes>>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::BAD_REQUEST.into_response() };
    let path = parts.uri.path();
    match parts.method {
        Method::GET => match kept.lock().unwrap().get(path) {
            Some(kept) => kept.clone().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Method::POST => {
            kept.lock().unwrap().insert(path.to_owned(), body);
            StatusCode::OK.into_response()
        }
        _ => StatusCode::OK.into_response(),
    }
}

/// Writes what is posted to a file of the folder, fsynced, and answers it, piece by piece.
pub(crate) fn files(folder: PathBuf) -> Router {
    Router::new().fallback(file).with_state(folder)
}

async fn file(State(folder): State<PathBuf>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let name = folder.join(parts.uri.path().replace('/', "_"));
    if parts.method == Method::POST {
        let mut file = File::create(name).await.unwrap();
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.unwrap().into_data() else { continue };
            file.write_all(&bytes).await.unwrap();
        }
        file.sync_all().await.unwrap();
        return StatusCode::OK.into_response();
    }
    let file = File::open(name).await.unwrap();
    let length = file.metadata().await.unwrap().len();
    let pieces = futures_util::stream::unfold(file, |mut file| async {
        let mut piece = Vec::with_capacity(128 * 1024);
        match file.read_buf(&mut piece).await {
            Ok(0) => None,
            read => Some((read.map(|_| Bytes::from(piece)), file)),
        }
    });
    Response::builder().header("content-length", length).body(Body::from_stream(pieces)).unwrap()
}

/// Serves until the process ends.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    axum::serve(listener, router).await.unwrap();
}
