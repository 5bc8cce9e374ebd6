// Facts about this machine that results record.
#pragma once

#include <cstdint>
#include <string>

namespace qualm {

std::string HostName();
std::string ProcessorName();      // "AMD EPYC 9654"; empty if unknown
uint64_t AvailableMemoryBytes();  // that new work may use without swapping; 0: unknown
uint64_t FreeDiskBytes(const std::string& folder);
uint64_t PeakMemoryBytes();  // of this process
double SteadySeconds();      // of a clock that only goes forward
std::string UtcNow();        // 2026-01-31T12:00:00Z

}  // namespace qualm
