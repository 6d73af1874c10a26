// libpq's asynchronous calls behind one synchronous call: ten queries on ten connections at once; the one that takes
// too long is cancelled on the server as well.
// g++ -std=c++20 -Iinclude -I$(pg_config --includedir) examples/postgres.cpp -o postgres -pthread -lpq && ./postgres ""
#include <sincpro/async_worker.hpp>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <libpq-fe.h>

using namespace std::chrono_literals;
using sincpro::task;

struct connection_deleter {
    void operator()(PGconn* connection) const { ::PQfinish(connection); }
};
struct answer_deleter {
    void operator()(PGresult* answer) const { ::PQclear(answer); }
};
struct cancel_deleter {
    void operator()(PGcancel* cancel) const { ::PQfreeCancel(cancel); }
};
using connection = std::unique_ptr<PGconn, connection_deleter>;
using answer = std::unique_ptr<PGresult, answer_deleter>;

[[noreturn]] void fail(PGconn* db) {
    std::string text = ::PQerrorMessage(db);
    text.erase(text.find_last_not_of('\n') + 1);
    throw std::runtime_error(text);
}

// A host name would be looked up here and now: give hostaddr, or call this by to_thread.
task<connection> connect(std::string where) {
    connection db(::PQconnectStart(where.c_str()));
    if (!db) throw std::bad_alloc();
    if (::PQstatus(db.get()) == CONNECTION_BAD) fail(db.get());
    for (auto next = PGRES_POLLING_WRITING; next != PGRES_POLLING_OK; next = ::PQconnectPoll(db.get())) {
        if (next == PGRES_POLLING_FAILED) fail(db.get());
        const int fd = ::PQsocket(db.get());  // may be another one each time
        if (next == PGRES_POLLING_READING) {
            co_await sincpro::wait_readable(fd);
        } else {
            co_await sincpro::wait_writable(fd);
        }
    }
    if (::PQsetnonblocking(db.get(), 1) != 0) fail(db.get());
    co_return db;
}

task<> send(PGconn* db, std::string sql) {
    if (::PQsendQuery(db, sql.c_str()) == 0) fail(db);
    int unsent;
    while ((unsent = ::PQflush(db)) == 1) {
        const int fd = ::PQsocket(db);
        const auto ready = co_await sincpro::when_any(sincpro::wait_readable(fd), sincpro::wait_writable(fd));
        if (ready.index() == 0 && ::PQconsumeInput(db) == 0) fail(db);
    }
    if (unsent != 0) fail(db);
}

// All that is left to arrive of the running query; the first value of its last result.
task<std::string> receive(PGconn* db) {
    std::string value;
    std::string error;
    for (;;) {
        while (::PQisBusy(db) != 0) {
            co_await sincpro::wait_readable(::PQsocket(db));
            if (::PQconsumeInput(db) == 0) fail(db);
        }
        const answer part(::PQgetResult(db));
        if (!part) {
            break;
        }
        if (::PQresultStatus(part.get()) == PGRES_FATAL_ERROR) {
            error = ::PQresultErrorMessage(part.get());
        } else if (::PQntuples(part.get()) > 0) {
            value = ::PQgetvalue(part.get(), 0, 0);
        }
    }
    if (!error.empty()) throw std::runtime_error(error.substr(0, error.find('\n')));
    co_return value;
}

// PQcancel opens a connection of its own and waits for it.
void send_cancel(PGcancel* cancel) {
    char text[256] = "out of memory";
    if (cancel == nullptr || ::PQcancel(cancel, text, sizeof text) == 0) throw std::runtime_error(text);
}

// Ends the running query on the server and reads what it still sends, so that the connection can be used again.
task<> cancel_query(PGconn* db) {
    const std::unique_ptr<PGcancel, cancel_deleter> cancel(::PQgetCancel(db));
    co_await sincpro::to_thread(send_cancel, cancel.get());
    co_await receive(db);
}

task<std::string> send_and_receive(PGconn* db, std::string sql) {
    co_await send(db, sql);
    co_return co_await receive(db);
}

task<std::string> query(PGconn* db, std::string sql) {
    std::exception_ptr cancelled;
    try {
        co_return co_await send_and_receive(db, sql);
    } catch (const sincpro::operation_cancelled&) {
        cancelled = std::current_exception();
    }
    if (::PQtransactionStatus(db) == PQTRANS_ACTIVE) {
        // The server is still at work. What the shield holds runs all the same.
        auto clean_up = sincpro::as_result(sincpro::with_timeout(cancel_query(db), 10s));
        static_cast<void>(co_await sincpro::shield(std::move(clean_up)));
    }
    std::rethrow_exception(cancelled);
}

std::string why(sincpro::result<std::string>& failed) {
    try {
        return failed.value();
    } catch (const std::exception& error) {
        return error.what();
    }
}

// Each query has a connection and a limit of its own.
task<std::string> ask(std::string where, std::string sql, std::chrono::milliseconds limit) {
    const connection db = co_await connect(where);
    auto outcome = co_await sincpro::as_result(sincpro::with_timeout(query(db.get(), sql), limit));
    if (outcome) {
        co_return outcome.value();
    }
    // The connection is free again; the server tells whether it still runs what nobody waits for.
    const std::string running = co_await query(
        db.get(), "select count(*) from pg_stat_activity where state = 'active' and query = '" + sql + "'");
    co_return why(outcome) + "; still running on the server: " + running;
}

task<std::vector<std::string>> ask_all(std::string where, std::vector<std::string> queries,
                                       std::chrono::milliseconds limit) {
    std::vector<task<std::string>> asked;
    for (const std::string& sql : queries) {
        asked.push_back(ask(where, sql, limit));
    }
    co_return co_await sincpro::when_all(std::move(asked));
}

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: postgres \"hostaddr=127.0.0.1 dbname=postgres\" [seconds]\n");
        return 2;
    }
    const std::chrono::milliseconds limit = std::chrono::seconds(argc > 2 ? std::atoi(argv[2]) : 3);
    std::vector<std::string> queries;
    for (int i = 1; i < 10; ++i) {
        const std::string number = std::to_string(i);
        queries.push_back("select " + number + " * " + number + " from pg_sleep(1)");
    }
    queries.push_back("select pg_sleep(3600)");

    try {
        const auto begin = std::chrono::steady_clock::now();
        const auto answers = sincpro::run_async_task(ask_all(argv[1], queries, limit), limit + 30s);
        const auto took = std::chrono::steady_clock::now() - begin;
        for (std::size_t i = 0; i < queries.size(); ++i) {
            std::printf("%s: %s\n", queries[i].c_str(), answers[i].c_str());
        }
        std::printf("all together took %ld ms\n", static_cast<long>(took / 1ms));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
