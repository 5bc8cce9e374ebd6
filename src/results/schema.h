// The tables of the results store (docs/formats/results.md), and the upgrade of older stores.
// results/store.cc runs these statements when it opens a file.
#pragma once

namespace qualm {

// Written to every store; older ones are upgraded, a newer one is refused.
inline constexpr int kSchemaVersion = 4;
// "qual" as a number. It tells our stores from other SQLite files.
inline constexpr int kApplicationId = 0x7175616c;

// Each table is created if it is missing, so this runs on new and on upgraded stores.
inline constexpr const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS models(hash TEXT PRIMARY KEY, path TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers(
  model TEXT NOT NULL, request TEXT NOT NULL, protocol INTEGER NOT NULL,
  log_likelihood REAL, is_greedy INTEGER NOT NULL,
  PRIMARY KEY(model, request, protocol)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts(
  model TEXT NOT NULL, request TEXT NOT NULL, protocol INTEGER NOT NULL,
  text TEXT NOT NULL, tokens INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY(model, request, protocol)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evaluations(
  id INTEGER PRIMARY KEY, model TEXT NOT NULL, task TEXT NOT NULL, version INTEGER NOT NULL,
  shots INTEGER NOT NULL, fewshot_seed INTEGER NOT NULL, row_limit INTEGER NOT NULL,
  prompt_hash TEXT NOT NULL, files TEXT NOT NULL, is_finished INTEGER NOT NULL DEFAULT 0,
  UNIQUE(model, task, version, shots, fewshot_seed, row_limit, prompt_hash, files));
CREATE TABLE IF NOT EXISTS items(
  evaluation INTEGER NOT NULL REFERENCES evaluations(id), item INTEGER NOT NULL,
  subset TEXT NOT NULL, row INTEGER NOT NULL, gold INTEGER NOT NULL, picked INTEGER NOT NULL,
  is_correct INTEGER NOT NULL, is_near_tie INTEGER NOT NULL, value REAL, prediction TEXT,
  PRIMARY KEY(evaluation, item)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS readings(
  evaluation INTEGER NOT NULL REFERENCES evaluations(id), item INTEGER NOT NULL,
  position INTEGER NOT NULL, filter TEXT NOT NULL, prediction TEXT NOT NULL, value REAL NOT NULL,
  PRIMARY KEY(evaluation, item, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS prompts(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS requests(
  evaluation INTEGER NOT NULL REFERENCES evaluations(id), item INTEGER NOT NULL,
  choice INTEGER NOT NULL, request TEXT NOT NULL,
  prompt INTEGER NOT NULL REFERENCES prompts(id), context TEXT NOT NULL,
  continuation TEXT NOT NULL, tokens INTEGER NOT NULL, continuation_tokens INTEGER NOT NULL,
  head TEXT NOT NULL, tail TEXT NOT NULL,
  PRIMARY KEY(evaluation, item, choice)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS windows(
  model TEXT NOT NULL, reference TEXT NOT NULL, window TEXT NOT NULL, numbers BLOB NOT NULL,
  PRIMARY KEY(model, reference, window));
CREATE TABLE IF NOT EXISTS measurements(
  model TEXT NOT NULL, what TEXT NOT NULL, result TEXT NOT NULL,
  PRIMARY KEY(model, what)) WITHOUT ROWID;
)";

// Turns a store of version 1 into one of version 2, before kSchema adds the new tables.
inline constexpr const char* kUpgradeFrom1 = R"(
ALTER TABLE items ADD COLUMN value REAL;
ALTER TABLE items ADD COLUMN prediction TEXT;
UPDATE items SET value = is_correct;
)";

// From version 2 to 3: which files an evaluation read is not known of older ones. What makes
// evaluations unique cannot be changed in place.
inline constexpr const char* kUpgradeFrom2 = R"(
CREATE TABLE evaluations_3(
  id INTEGER PRIMARY KEY, model TEXT NOT NULL, task TEXT NOT NULL, version INTEGER NOT NULL,
  shots INTEGER NOT NULL, fewshot_seed INTEGER NOT NULL, row_limit INTEGER NOT NULL,
  prompt_hash TEXT NOT NULL, files TEXT NOT NULL, is_finished INTEGER NOT NULL DEFAULT 0,
  UNIQUE(model, task, version, shots, fewshot_seed, row_limit, prompt_hash, files));
INSERT INTO evaluations_3 SELECT id, model, task, version, shots, fewshot_seed, row_limit,
  prompt_hash, '', is_finished FROM evaluations;
DROP TABLE evaluations;
ALTER TABLE evaluations_3 RENAME TO evaluations;
)";

}  // namespace qualm
