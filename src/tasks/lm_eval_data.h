// Where the rows of a task of lm-evaluation-harness are: what dataset_path, dataset_name and
// dataset_kwargs mean to a program that downloads nothing.
#pragma once

#include <vector>

#include "data/row_sets.h"

namespace qualm {

class TaskKeys;
struct LmEvalFormat;
struct Task;

// Fills the task's data set, splits and subsets, and how rows are seen. dataset_path is, in this
// order: json, csv, text, parquet or arrow with dataset_kwargs.data_files; a file or folder; a data
// set of the hub that is known; one of ours. Throws bad input for any other, with the nearest
// names.
void FindLmEvalData(const TaskKeys& keys, LmEvalFormat& format, Task& task);

// The rows as the task's templates see them: through its views, with the same fields in each row
// and, of tables of text, numbers where a column has only numbers.
std::vector<SourcedRow> LmEvalRows(const Task& task, std::vector<SourcedRow> rows);

}  // namespace qualm
