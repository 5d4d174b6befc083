//! The command line.

use crate::commands::{
    self, check::CheckArgs, config::ConfigArgs, dead_letters::DeadLettersArgs, demo::DemoArgs, generate::GenerateArgs,
    health::HealthArgs, lookup::LookupArgs, migrate::MigrateArgs, publish::PublishArgs, purge::PurgeArgs,
    rebuild::RebuildArgs, run::RunArgs, status::StatusArgs, verify::VerifyArgs,
};
use crate::config::{self, Config, Flag, Loaded, LogFormat, Sources};
use crate::exit::{Exit, Failure};
use crate::hidden;
use crate::telemetry;
use crate::version;
use clap::{Parser, Subcommand};
use secrecy::ExposeSecret;
use std::path::PathBuf;
use std::time::Duration;
use tracing::level_filters::LevelFilter;

/// Takes X-Ray runs, steps and decisions off a broker, stores each raw payload as an object, keeps their metrics in
/// tables, and acks a message only when both are durable.
///
/// Without a command: run. New here? `xray-processor-worker demo` shows the whole job in a few seconds, with nothing
/// else installed.
#[derive(Parser, Debug)]
#[command(version = version::text(), about, max_term_width = 100)]
struct Cli {
    /// Configuration file (TOML); else XRAY_CONFIG, else ./xray.toml where it exists
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Work: receive, store, ack, until told to stop
    Run(RunArgs),
    /// Show the whole job on made-up pipelines, with nothing else installed
    Demo(DemoArgs),
    /// Find out what is wrong with the set-up, before the first event
    Check(CheckArgs),
    /// Show how a running worker is doing
    Status(StatusArgs),
    /// Ask whether a running worker is well, for a container's health check
    Health(HealthArgs),
    /// Create the tables or bring them up to date
    Migrate(MigrateArgs),
    /// Where is my event: its objects, rows and dead letters, and whether they agree
    Lookup(LookupArgs),
    /// Check the tables against the objects, and mend them
    Verify(VerifyArgs),
    /// Make the tables anew from the objects alone
    Rebuild(RebuildArgs),
    /// Erase a run, or everything before a day
    Purge(PurgeArgs),
    /// Look at what was no event, and send it again
    DeadLetters(DeadLettersArgs),
    /// Write realistic events as NDJSON
    Generate(GenerateArgs),
    /// Put NDJSON on the configured broker
    Publish(PublishArgs),
    /// Show the configuration in force, and where each value came from
    Config(ConfigArgs),
}

/// After a command is done, how long calls that cannot be cancelled may still hold up the exit.
const LINGER: Duration = Duration::from_secs(1);

/// Parses the arguments of the process and does what they say.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors. A closed pipe while printing them is nobody's loss.
            error.print().ok();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    dispatch(cli).unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        failure.exit
    })
}

fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let level = cli.log_level.map(|value| Flag { path: "log.level", flag: "--log-level", value });
    let mut flags: Vec<Flag> = level.into_iter().collect();
    match cli.command.unwrap_or_else(|| Command::Run(RunArgs::default())) {
        Command::Generate(args) => commands::generate::main(&args),
        Command::Config(args) => commands::config::main(&args, &load(cli.config, flags)?),
        Command::Run(args) => {
            flags.extend(args.flags());
            block_on(commands::run::main(&args, &begun(Vec::new(), cli.config, flags)?))
        }
        Command::Check(args) => {
            flags.extend(args.place.flags());
            let loaded = load_over(quiet(), cli.config, flags)?;
            start_logs(&loaded.config.log, &[])?;
            block_on(commands::check::main(&args, &loaded))
        }
        Command::Status(args) => block_on(commands::status::main(&args, &logged(quiet(), cli.config, flags)?)),
        Command::Health(args) => block_on(commands::health::main(&args, &logged(quiet(), cli.config, flags)?)),
        Command::Migrate(args) => block_on(commands::migrate::main(&args, &logged(Vec::new(), cli.config, flags)?)),
        Command::Lookup(args) => {
            flags.extend(args.place.flags());
            block_on(commands::lookup::main(&args, &logged(quiet(), cli.config, flags)?))
        }
        Command::Verify(args) => {
            flags.extend(args.place.flags());
            block_on(commands::verify::main(&args, &logged(quiet(), cli.config, flags)?))
        }
        Command::Purge(args) => {
            flags.extend(args.place.flags());
            block_on(commands::purge::main(&args, &logged(quiet(), cli.config, flags)?))
        }
        Command::Rebuild(args) => {
            flags.extend(args.place.flags());
            block_on(commands::rebuild::main(&args, &logged(quiet(), cli.config, flags)?))
        }
        Command::DeadLetters(args) => {
            flags.extend(args.place.flags());
            block_on(commands::dead_letters::main(&args, &logged(quiet(), cli.config, flags)?))
        }
        Command::Publish(args) => block_on(commands::publish::main(&args, &logged(Vec::new(), cli.config, flags)?)),
        Command::Demo(args) => {
            flags.extend(args.flags());
            block_on(commands::demo::main(&args, &logged(quiet(), cli.config, flags)?))
        }
    }
}

/// What a tool prints is what there is to see, unless logs were asked for.
fn quiet() -> Vec<Flag> {
    vec![Flag { path: "log.level", flag: "default", value: "warn".into() }]
}

fn load(file: Option<PathBuf>, flags: Vec<Flag>) -> Result<Loaded, Failure> {
    load_over(Vec::new(), file, flags)
}

/// The configuration, with logs as it says.
fn logged(presets: Vec<Flag>, file: Option<PathBuf>, flags: Vec<Flag>) -> Result<Config, Failure> {
    Ok(begun(presets, file, flags)?.config)
}

/// The same with all that is known of it.
fn begun(presets: Vec<Flag>, file: Option<PathBuf>, flags: Vec<Flag>) -> Result<Loaded, Failure> {
    let loaded = load_over(presets, file, flags)?;
    start_logs(&loaded.config.log, &loaded.warnings)?;
    Ok(loaded)
}

fn load_over(presets: Vec<Flag>, file: Option<PathBuf>, flags: Vec<Flag>) -> Result<Loaded, Failure> {
    let sources = Sources { presets, file, flags, ..Sources::of_process() };
    let loaded = config::load(&sources).map_err(|problems| {
        config::warnings(&sources).iter().for_each(|warning| eprintln!("warning: {warning}"));
        Failure::usage(problems.to_string())
    })?;
    loaded.secrets.iter().for_each(|secret| hidden::remember(secret.expose_secret()));
    Ok(loaded)
}

fn start_logs(log: &config::Log, warnings: &[String]) -> Result<(), Failure> {
    let format = log.format.map(|format| match format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    });
    telemetry::init(LevelFilter::from_level(log.level), format)
        .map_err(|error| Failure::failed(format!("cannot start logging: {error}")))?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(())
}

fn block_on(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(LINGER);
    done
}
