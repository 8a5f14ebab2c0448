/* SPDX-License-Identifier: Apache-2.0 */
#include "backup/flow.h"
#include "layer/ring-bytes.h"
#include "layer/stages.h"

#define BLOCKS 8
#define BLOCK  ((gsize)1 << 20)

typedef struct {
    const VarveFlow *flow;
    VarveRingWriter writer;
    VarveRingReader reader;
} Flow;

static gboolean
produce(gpointer data, GError **error)
{
    Flow *flow = data;
    return flow->flow->produce(flow->flow->data, varve_ring_writer_sink(&flow->writer), error) &&
           varve_ring_writer_end(&flow->writer, error);
}

static gboolean
consume(gpointer data, GError **error)
{
    Flow *flow = data;
    return flow->flow->consume(flow->flow->data, varve_ring_reader_source(&flow->reader), error);
}

static void
stop(gpointer data)
{
    varve_ring_stop(((Flow *)data)->writer.ring);
}

gboolean
varve_flow_run(const VarveFlow *flow, GError **error)
{
    static const VarveStage stages[] = {{"backup-from", produce}, {"backup-to", consume}};
    g_autoptr(VarveRing) ring = varve_ring_new(BLOCKS, BLOCK, 1);
    Flow running = {
        .flow = flow,
        .writer = {.ring = ring, .block_size = BLOCK},
        .reader = {.ring = ring},
    };
    return varve_stages_run(stages, G_N_ELEMENTS(stages), stop, &running, error);
}
