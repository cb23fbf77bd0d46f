//! `warren task logs`.

use warren_proto::v1 as pb;

use crate::{
    cli::{Format, task::LogsArgs},
    client::{Client, Host},
    console::Console,
    failure::Failure,
    interrupt,
    output::{self, words},
};

pub async fn run(args: &LogsArgs, host: &Host, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = Client::connect(host).await?;
    let request =
        pb::TaskLogsRequest { task: args.task.clone(), tail: args.tail, follow: args.follow };
    let mut lines = client.tasks().logs(request).await?.into_inner();
    interrupt::until(async {
        while let Some(line) = lines.message().await? {
            print(&line, args, console)?;
        }
        Ok(())
    })
    .await
}

/// What the task wrote, byte for byte, on the stream that it wrote it to.
fn print(line: &pb::LogLine, args: &LogsArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    if args.output.output != Format::Table {
        return output::show_next(console, args.output.output, "LogLine", line, |_| String::new());
    }
    let mut bytes = Vec::with_capacity(line.line.len() + 32);
    if args.timestamps {
        let at = line.at.as_ref().map(ToString::to_string);
        bytes.extend_from_slice(words::plain(&at.unwrap_or_default()).as_bytes());
        bytes.push(b' ');
    }
    bytes.extend_from_slice(&line.line);
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    match line.stream() {
        pb::LogStream::Stderr => console.print_err(bytes),
        pb::LogStream::Stdout | pb::LogStream::Unspecified => console.print(bytes),
    }
}
