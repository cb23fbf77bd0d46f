//! One attempt at a TCP check: connect, and where the owner wants it, ask and listen.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use warren_core::{
    check::{TcpCheck, TextMatch},
    outcome::Evidence,
};

use crate::{
    Prober, Target, clause,
    connect::{self, Peer},
    end::End,
    message,
    tls::{self, Alpn},
    trace::Trace,
};

/// So much of what comes back is searched: as of an HTTP body.
const ANSWER: usize = 10 * 1024;

pub(crate) async fn look(
    prober: &Prober,
    target: &Target,
    check: &TcpCheck,
    peer: Peer<'_>,
    trace: &Trace,
) -> Result<End, End> {
    let mut stream = connect::connect(prober, target, peer, trace).await?;
    match &check.tls {
        None => talk(&mut stream, check, peer, trace).await,
        Some(tls) => {
            // Boxed: what is plain shall not carry the room for it.
            Box::pin(async {
                let config = prober.tls.of(&tls.trust, Alpn::Unnamed).await?;
                let name = tls::name(tls, None, peer);
                let mut stream = tls::handshake(config, stream, name, peer, trace).await?;
                talk(&mut stream, check, peer, trace).await
            })
            .await
        }
    }
}

/// Once connected.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    check: &TcpCheck,
    peer: Peer<'_>,
    trace: &Trace,
) -> Result<End, End> {
    let TcpCheck { endpoint: _, tls, send, expect } = check;
    if !send.as_slice().is_empty() {
        // One that answers and closes without reading has answered.
        let sent = async {
            stream.write_all(send.as_slice()).await?;
            stream.flush().await
        };
        let sent = sent.await;
        if let (Err(error), None) = (sent, expect) {
            return Err(End::of_io(&error, peer, " before it was asked"));
        }
    }
    match expect {
        None => {
            let by = if tls.is_some() { " by TLS" } else { "" };
            Ok(End::pass(clause::CONNECTED, format!("connected to {peer}{by}")))
        }
        Some(expect) => listen(stream, expect, peer, trace).await,
    }
}

/// Until what came matches.
async fn listen<S: AsyncRead + Unpin>(
    stream: &mut S,
    expect: &TextMatch,
    peer: Peer<'_>,
    trace: &Trace,
) -> Result<End, End> {
    let mut answer = Vec::with_capacity(256);
    let excerpt = |answer: &[u8]| match message::excerpt(answer) {
        said if said.is_empty() => String::new(),
        said => format!(": {said}"),
    };
    let explicit = |why: String| Err(End::fail(clause::ANSWER, Evidence::Explicit, why));
    loop {
        let room = ANSWER - answer.len();
        let read = (&mut *stream).take(room as u64).read_buf(&mut answer).await;
        let before = || format!(" after {} bytes{}", answer.len(), excerpt(&answer));
        let count = match read {
            Err(error) if tls::is_unannounced_close(&error) => 0,
            read => read.map_err(|error| End::of_io(&error, peer, &before()))?,
        };
        trace.received(count);
        if count > 0 && expect.is_match(&answer) {
            let message = format!("{peer} answered as expected{}", excerpt(&answer));
            return Ok(End::pass(clause::ANSWER, message));
        }
        if answer.len() >= ANSWER {
            let begin = excerpt(&answer);
            return explicit(format!("the first 10 KiB from {peer} do not {expect}{begin}"));
        }
        if count == 0 {
            let begin = excerpt(&answer);
            let closed = format!("{peer} closed, and its answer does not {expect}{begin}");
            return explicit(closed);
        }
        trace.talked(message::excerpt(&answer));
    }
}
