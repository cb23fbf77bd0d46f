//! `warren service scale`.

use warren_core::spec::Replicas;
use warren_proto::v1 as pb;

use crate::{
    cli::service::ScaleArgs,
    client::{Client, Host},
    console::Console,
    failure::Failure,
    values,
};

/// Only what was named changes, so a change that somebody else made meanwhile is no conflict: read
/// it and try again. Who loses so often in a row should know.
const ATTEMPTS: usize = 5;

pub async fn run(args: &ScaleArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let targets = targets(&args.targets)?;
    let client = Client::connect(host).await?;
    for (service, replicas) in targets {
        scale(&client, service, replicas).await?;
        console.line(&format!("{service} scaled to {}", replicas.get()))?;
    }
    Ok(())
}

async fn scale(client: &Client, service: &str, replicas: Replicas) -> Result<(), Failure> {
    change(client, service, |spec| {
        spec.replicas = replicas.get();
        Ok(())
    })
    .await
    .map(drop)
}

/// Changes the spec that is there. What the manager warns about.
pub async fn change(
    client: &Client,
    service: &str,
    edit: impl Fn(&mut pb::ServiceSpec) -> Result<(), Failure>,
) -> Result<Vec<String>, Failure> {
    let mut attempt = 1;
    loop {
        let request = pb::GetServiceRequest { service: service.to_owned() };
        let detail = Box::pin(client.services().get(request)).await?.into_inner();
        let current = detail.service.unwrap_or_default();
        let mut spec = current.spec.unwrap_or_default();
        edit(&mut spec)?;
        let request = pb::UpdateServiceRequest {
            service: service.to_owned(),
            spec: Some(spec),
            expected_revision: Some(current.revision),
        };
        match Box::pin(client.services().update(request)).await {
            Ok(updated) => return Ok(updated.into_inner().warnings),
            Err(status) if status.code() == tonic::Code::Aborted && attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(status) => return Err(status.into()),
        }
    }
}

/// `NAME=N`…, or `NAME N`.
fn targets(words: &[String]) -> Result<Vec<(&str, Replicas)>, Failure> {
    if let [name, count] = words
        && !name.contains('=')
        && !count.contains('=')
    {
        return Ok(vec![(name, replicas(name, count)?)]);
    }
    words.iter().map(|word| target(word)).collect()
}

fn target(word: &str) -> Result<(&str, Replicas), Failure> {
    let Some((name, count)) = word.split_once('=') else {
        return Err(Failure::Usage(format!("{word:?} is not NAME=N")));
    };
    Ok((name, replicas(name, count)?))
}

fn replicas(name: &str, count: &str) -> Result<Replicas, Failure> {
    values::count(count).and_then(Replicas::new).map_err(|why| Failure::flag(name, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Vec<(String, u32)>, String> {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let targets = targets(&words).map_err(|failure| failure.to_string())?;
        Ok(targets.into_iter().map(|(name, n)| (name.to_owned(), n.get())).collect())
    }

    #[test]
    fn targets_are_pairs_or_one_name_and_a_number() {
        assert_eq!(read(&["web=5"]), Ok(vec![("web".to_owned(), 5)]));
        assert_eq!(read(&["web", "0"]), Ok(vec![("web".to_owned(), 0)]));
        assert_eq!(
            read(&["web=5", "api=2"]),
            Ok(vec![("web".to_owned(), 5), ("api".to_owned(), 2)])
        );
        assert_eq!(read(&["web"]), Err("\"web\" is not NAME=N".to_owned()));
        assert_eq!(read(&["web", "api=2"]), Err("\"web\" is not NAME=N".to_owned()));
        assert_eq!(read(&["web=-1"]), Err("web: -1 is negative".to_owned()));
        assert_eq!(read(&["web=10001"]), Err("web: 10001 is not in 0..=10000".to_owned()));
    }
}
