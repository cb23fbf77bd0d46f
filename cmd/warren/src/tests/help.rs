//! Every command says how it is used.

use clap::CommandFactory;

use crate::cli::Cli;

fn every_command(command: &clap::Command, path: &str, visit: &mut dyn FnMut(&str, &clap::Command)) {
    visit(path, command);
    for child in command.get_subcommands() {
        every_command(child, &format!("{path} {}", child.get_name()), visit);
    }
}

#[test]
fn the_definitions_contradict_nothing() {
    Cli::command().debug_assert();
}

#[test]
fn every_help_text_has_an_example_of_its_own_command() {
    let mut seen = 0;
    every_command(&Cli::command(), "warren", &mut |path, command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help.split_once("Example").unwrap_or_else(|| panic!("{path}: none"));
        assert!(examples.contains(path), "{path}: the example shows another command");
        let commands = examples.replace("\\\n", " ");
        let commands: Vec<&str> = commands.lines().map(str::trim).collect();
        let twice = (1..commands.len()).find(|&at| commands[..at].contains(&commands[at]));
        assert_eq!(twice.map(|at| commands[at]), None, "{path}: an example is there twice");
        assert!(command.get_about().is_some(), "{path}: says nothing about itself");
        seen += 1;
    });
    assert!(seen > 25, "only {seen} commands were found");
}

#[test]
fn every_argument_says_what_it_is_for() {
    every_command(&Cli::command(), "warren", &mut |path, command| {
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path}: {} has no help", argument.get_id());
        }
    });
}

#[test]
fn every_example_parses() {
    every_command(&Cli::command(), "warren", &mut |path, command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, examples) = help.split_once("Example").unwrap();
        let joined = examples.replace("\\\n", " ");
        for line in joined.lines().map(str::trim).filter(|line| line.starts_with("warren ")) {
            let words = shlex::split(line).unwrap();
            let parsed = Cli::command().try_get_matches_from(words);
            assert!(parsed.is_ok(), "{path}: {line}: {}", parsed.unwrap_err());
        }
    });
}
