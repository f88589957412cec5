import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * deferd's simplest rule as a Kafka Streams job: a submitted message is deferred; an attach starts the wait
 * for IP; a registration delivers by IP; the end of the wait delivers by SMS.
 *
 * <p>It has no journal, no memory of duplicates, no outcomes, no lifetimes, no policy: what it does, deferd
 * does too. Users and timers are in RocksDB, and in changelog topics, as is usual.
 *
 * <p>The wait goes by the time of the records and not by the wall clock: a backlog is worked off faster than
 * it came about, and its waits are to end where they ended in life.
 *
 * <pre>java DeferJob BROKERS PREFIX COMMIT_MILLISECONDS STATE_DIR</pre>
 */
public final class DeferJob {
    private static final String USERS = "users";
    private static final String TIMERS = "timers";
    private static final long IP_WAIT = Duration.ofSeconds(30).toMillis();

    private DeferJob() {}

    public static void main(String[] args) throws InterruptedException {
        String brokers = args[0];
        String prefix = args[1];
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, prefix + "streams");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[2]);
        config.put(StreamsConfig.STATE_DIR_CONFIG, args[3]);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");

        KafkaStreams streams = new KafkaStreams(topology(prefix), config);
        streams.setUncaughtExceptionHandler(
                error -> {
                    error.printStackTrace();
                    return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
                });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
        Thread.currentThread().join();
    }

    private static Topology topology(String prefix) {
        Topology topology = new Topology();
        topology.addSource(
                "inputs",
                Serdes.String().deserializer(),
                Serdes.ByteArray().deserializer(),
                prefix + "cpm.messages",
                prefix + "cpm.reachability");
        topology.addProcessor("defer", Defer::new, "inputs");
        topology.addStateStore(store(USERS), "defer");
        topology.addStateStore(store(TIMERS), "defer");
        topology.addSink(
                "deliveries",
                prefix + "raw.cpm.deliveries",
                Serdes.String().serializer(),
                Serdes.ByteArray().serializer(),
                "defer");
        return topology;
    }

    private static StoreBuilder<KeyValueStore<String, byte[]>> store(String name) {
        return Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(name), Serdes.String(), Serdes.ByteArray());
    }

    /** A user: the messages that wait, and when the wait for IP ends; 0 if there is none. */
    private static final class Defer implements Processor<String, byte[], String, byte[]> {
        private final ObjectMapper json = new ObjectMapper();
        private ProcessorContext<String, byte[]> context;
        private KeyValueStore<String, byte[]> users;
        private KeyValueStore<String, byte[]> timers;

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
            users = context.getStateStore(USERS);
            timers = context.getStateStore(TIMERS);
            context.schedule(Duration.ofMillis(100), PunctuationType.STREAM_TIME, this::ring);
        }

        @Override
        public void process(Record<String, byte[]> record) {
            try {
                JsonNode event = json.readTree(record.value());
                String user = event.path("subject").asText();
                switch (event.path("type").asText()) {
                    case "cpm.message.submitted.v1" -> defer(user, event);
                    case "cpm.ims.registered.v1" -> registered(user, record.timestamp());
                    case "cpm.cs.attached.v1", "cpm.ps.attached.v1", "cpm.sms.ready.v1" ->
                            attached(user, record.timestamp());
                    default -> {}
                }
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }

        private void defer(String user, JsonNode event) throws IOException {
            byte[] known = users.get(user);
            ObjectNode state = known == null ? json.createObjectNode() : read(known);
            JsonNode data = event.path("data");
            ObjectNode message = state.withArray("messages").addObject();
            message.set("message_id", data.path("message_id"));
            message.set("from", data.path("from"));
            message.set("kind", data.path("kind"));
            message.set("content_type", data.path("content_type"));
            message.set("body", data.path("body"));
            message.set("disposition", data.path("disposition"));
            message.set("submitted_at", event.path("time"));
            users.put(user, json.writeValueAsBytes(state));
        }

        private void registered(String user, long at) throws IOException {
            byte[] known = users.get(user);
            if (known == null) {
                return;
            }
            ObjectNode state = read(known);
            long until = state.path("ip_wait_until").asLong();
            if (until != 0) {
                timers.delete(timer(until, user));
            }
            deliver(user, state, "cpm", at);
        }

        private void attached(String user, long at) throws IOException {
            byte[] known = users.get(user);
            if (known == null) {
                return;
            }
            ObjectNode state = read(known);
            if (state.path("ip_wait_until").asLong() == 0) {
                state.put("ip_wait_until", at + IP_WAIT);
                users.put(user, json.writeValueAsBytes(state));
                timers.put(timer(at + IP_WAIT, user), new byte[0]);
            }
        }

        private void ring(long now) {
            List<String> due = new ArrayList<>();
            try (KeyValueIterator<String, byte[]> range = timers.range("0", timer(now, "~"))) {
                while (range.hasNext()) {
                    KeyValue<String, byte[]> next = range.next();
                    due.add(next.key);
                }
            }
            try {
                for (String timer : due) {
                    timers.delete(timer);
                    String user = timer.substring(timer.indexOf(' ') + 1);
                    byte[] known = users.get(user);
                    if (known != null) {
                        deliver(user, read(known), "sms", now);
                    }
                }
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }

        /** All that waits, a command for each message; then nothing waits any more. */
        private void deliver(String user, ObjectNode state, String access, long at) throws IOException {
            for (JsonNode message : (ArrayNode) state.withArray("messages")) {
                ObjectNode command = json.createObjectNode();
                command.put("specversion", "1.0");
                command.put("id", message.path("message_id").asText() + "-1-" + access + "-message");
                command.put("source", "/streams");
                command.put("type", "cpm.delivery.requested.v1");
                command.put("subject", user);
                command.put("time", at);
                ObjectNode data = command.putObject("data");
                data.put("access", access);
                data.set("message", message);
                context.forward(new Record<>(user, json.writeValueAsBytes(command), at));
            }
            users.delete(user);
        }

        private ObjectNode read(byte[] state) throws IOException {
            return (ObjectNode) json.readTree(state);
        }

        /** Its order as text is its order in time: milliseconds have 13 digits until 2286. */
        private static String timer(long until, String user) {
            return until + " " + user;
        }
    }
}
