// Traces of electord by way of OpenTelemetry, to any collector that takes OTLP over HTTP. In a folder of your choice:
//
//   npm install @opentelemetry/api @opentelemetry/sdk-trace-node \
//     @opentelemetry/exporter-trace-otlp-http @opentelemetry/resources
//   OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 \
//     node --import ./tracing.mjs electord.js serve --election=orders
//
// electord brings only OpenTelemetry's API (1.9): an SDK that comes with the same or a later one is seen. At its end
// electord waits at most a second for what has not been sent yet.
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({
    'service.name': process.env.OTEL_SERVICE_NAME ?? 'electord',
  }),
  // Where it goes, with which headers and how patiently: OTEL_EXPORTER_OTLP_*. How often: OTEL_BSP_*. How much of it:
  // OTEL_TRACES_SAMPLER.
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
});
provider.register();
