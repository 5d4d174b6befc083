//! Asks RabbitMQ itself what is in a queue, held or not.
//!
//! `rabbitmqctl` takes a second each time, and for quorum queues tells what was true up to five seconds ago. So one
//! Erlang node per server is kept running, which is told names of queues and asks the queue's own process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::servers::Server;

const PROGRAM: &str = r#"
    Node = list_to_atom(os:getenv("RABBITMQ_NODENAME")),
    Left = fun(Name) ->
        {ok, Queue} = rpc:call(Node, rabbit_amqqueue, lookup, [{resource, <<"/">>, queue, Name}]),
        case rpc:call(Node, amqqueue, get_type, [Queue]) of
            rabbit_quorum_queue ->
                Server = rpc:call(Node, amqqueue, get_pid, [Queue]),
                Ask = fun rabbit_fifo:query_messages_total/1,
                {ok, {_, Count}, _} = rpc:call(Node, ra, leader_query, [Server, Ask]),
                Count;
            rabbit_classic_queue ->
                [{messages, Count}] = rpc:call(Node, rabbit_amqqueue, info, [Queue, [messages]]),
                Count
        end
    end,
    Loop = fun Loop() ->
        case io:get_line("") of
            eof -> halt(0);
            "!save\n" ->
                Tables = rpc:call(Node, dets, all, []),
                [rpc:call(Node, dets, sync, [Table]) || Table <- Tables],
                rpc:call(Node, mnesia, sync_log, []),
                io:format("0~n"),
                Loop();
            Line ->
                Name = list_to_binary(string:trim(Line)),
                Answer = try integer_to_list(Left(Name)) catch _:Error -> lists:flatten(io_lib:format("~0p", [Error])) end,
                io:format("~s~n", [Answer]),
                Loop()
        end
    end,
    Loop().
"#;

/// A node beside that of the server. It ends with its standard input, so with this process.
pub struct Erlang(Mutex<Pipes>);

struct Pipes {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    _node: Child,
}

impl Erlang {
    /// The one for this server.
    pub fn of(server: &Server) -> Arc<Erlang> {
        static NODES: Mutex<BTreeMap<String, Arc<Erlang>>> = Mutex::new(BTreeMap::new());
        let tools = &server.running().tools;
        let mut nodes = NODES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let name = format!("{}:{}", tools["RABBITMQ_NODENAME"], tools["ERL_EPMD_PORT"]);
        nodes.entry(name).or_insert_with(|| Arc::new(Erlang::start(tools))).clone()
    }

    fn start(tools: &BTreeMap<String, String>) -> Erlang {
        let mut command = Command::new("erl");
        command.args(["-noshell", "-hidden", "-sname", &format!("ask{}@localhost", std::process::id())]);
        command.args(["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-eval", PROGRAM]);
        command.envs(tools).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut node = command.spawn().unwrap();
        let (stdin, stdout) = (node.stdin.take().unwrap(), node.stdout.take().unwrap());
        Erlang(Mutex::new(Pipes { stdin, stdout: BufReader::new(stdout), _node: node }))
    }

    fn ask(&self, queue: &str) -> String {
        let mut pipes = self.0.lock().unwrap();
        writeln!(pipes.stdin, "{queue}").unwrap();
        let mut answer = String::new();
        assert!(pipes.stdout.read_line(&mut answer).unwrap() > 0, "erl has ended");
        answer.trim().to_owned()
    }

    /// Makes it write down which queues it has, which it does only now and then: a kill -9 soon after a queue was
    /// made would lose it, with all that is in it.
    pub async fn save(self: Arc<Self>) {
        self.left("!save").await;
    }

    /// Messages of a queue, ready and unacked.
    pub async fn left(self: Arc<Self>, queue: &str) -> u64 {
        let begin = Instant::now();
        loop {
            let (node, name) = (self.clone(), queue.to_owned());
            let answer = tokio::task::spawn_blocking(move || node.ask(&name)).await.unwrap();
            match answer.parse() {
                Ok(left) => return left,
                // A server that was just started accepts connections before its queues can be asked.
                Err(_) if begin.elapsed() < Duration::from_secs(30) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(_) => panic!("what is in {queue}? {answer}"),
            }
        }
    }
}
