//! `warren image`.

use std::path::Path;

use anyhow::Context;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use warren_core::time::Timestamp;
use warren_proto::v1::{self as pb, import_image_request::Part};

use super::names::Names;
use crate::{
    cli::image::{ImportArgs, LsArgs, Verb},
    client::{Client, Host},
    console::Console,
    failure::Failure,
    output::{self, words},
};

/// The API takes pieces of at most this size.
const PIECE: usize = 1024 * 1024;
/// So many pieces may be read ahead of the connection.
const PIECES_AHEAD: usize = 4;

pub async fn run(verb: Verb, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Import(args) => import(&args, host, console).await,
        Verb::Ls(args) => ls(&args, host, console).await,
    }
}

async fn import(args: &ImportArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let archive = open(&args.file).await?;
    let client = Client::connect(host).await?;
    let (pieces, stream) = mpsc::channel(PIECES_AHEAD);
    let node = args.node.clone().unwrap_or_default();
    let mut images = client.images();
    let sent = send(archive, node, pieces);
    let (sent, answer) = tokio::join!(sent, images.import(ReceiverStream::new(stream)));
    // A file that cannot be read to its end is the cause of whatever the manager says of it.
    sent.with_context(|| format!("cannot read {}", args.file.display()))?;
    for image in answer?.into_inner().images {
        console.line(&words::plain(&image.name))?;
    }
    Ok(())
}

async fn open(file: &Path) -> Result<Box<dyn AsyncRead + Unpin>, Failure> {
    if file == Path::new("-") {
        return Ok(Box::new(tokio::io::stdin()));
    }
    match tokio::fs::File::open(file).await {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(Failure::Usage(format!("cannot open {}: {error}", file.display()))),
    }
}

/// Sends where to, then the archive piece by piece. Ends early when nobody listens any more: the
/// answer says why.
async fn send(
    mut archive: Box<dyn AsyncRead + Unpin>,
    node: String,
    pieces: mpsc::Sender<pb::ImportImageRequest>,
) -> std::io::Result<()> {
    let message = |part| pb::ImportImageRequest { part: Some(part) };
    let mut open = pieces.send(message(Part::Node(node))).await.is_ok();
    while open {
        let mut data = Vec::with_capacity(PIECE);
        (&mut archive).take(PIECE as u64).read_to_end(&mut data).await?;
        if data.is_empty() {
            break;
        }
        open = pieces.send(message(Part::Data(data))).await.is_ok();
    }
    Ok(())
}

async fn ls(args: &LsArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let request = pb::ListImagesRequest { node: args.node.clone().unwrap_or_default() };
    let list = client.images().list(request).await?.into_inner();
    let nodes = Names::of_nodes(&client).await;
    output::show(console, args.output.output, "ListImagesResponse", &list, |list, now| {
        let header = ["IMAGE", "DIGEST", "SIZE", "UPDATED", "NODE"];
        output::table(header, list.images.iter().map(|image| row(image, &nodes, now)))
    })?;
    if list.unasked.is_empty() {
        return Ok(());
    }
    let reason = |node: &pb::UnaskedNode| {
        format!("node {}: {}", words::plain(&node.node_name), words::plain(&node.reason))
    };
    let reasons: Vec<String> = list.unasked.iter().map(reason).collect();
    Err(Failure::Refused(format!("images are missing in this list: {}", reasons.join("; "))))
}

fn row(image: &pb::Image, nodes: &Names, now: Timestamp) -> [String; 5] {
    let digest = image.digest.strip_prefix("sha256:").unwrap_or(&image.digest);
    [
        words::plain(&image.name),
        // As many digits as docker shows.
        words::plain(digest).chars().take(12).collect(),
        words::bytes(image.size_bytes),
        words::ago(image.updated_at.as_ref(), now),
        nodes.get(&image.node_id),
    ]
}
